"""The files that a run has parts of, of those that are in no package: copies of them in its folder, by their hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from zoo.errors import RunError
from zoo.files import reason_of, write_whole
from zoo.parts_file import PartsFile, kept_copy, place_in
from zoo.plugins import Plugin
from zoo.recipe import PartSpec, Recipe


def files_of(recipe: Recipe) -> list[PartsFile]:
    """The files that a recipe has parts of."""
    plugins = [each.entry.plugin for _, spec in recipe.parts() if isinstance(spec, PartSpec) for each in spec.whole()]
    return list(dict.fromkeys(plugin for plugin in plugins if isinstance(plugin, PartsFile)))


def keep(run: Path, files: Iterable[PartsFile]) -> None:
    """Write a copy of each into the folder of a run, unless it is there.

    Raises:
        RunError: it cannot be written, or another file is in its place.
    """
    for file in files:
        place = place_in(run, file)
        if kept_copy(run, file) is not None:
            continue
        if place.exists():
            raise RunError(f"{place}: is no copy of {file.path} any more; move it elsewhere")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{place.parent}: cannot be made: {reason_of(error)}") from error
        write_whole(place, file.source, RunError)


def kept_copies(run: Path, packages: Mapping[str, str]) -> list[Path]:
    """The copies that a run keeps of the files among the packages that it has on record."""
    found = [kept_copy(run, Plugin(*each)) for each in packages.items()]
    return [copy for copy in found if copy is not None]
