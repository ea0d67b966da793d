"""The recipe of a run, from its recipe.yaml or, where that is lost, from a checkpoint. Free of torch."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.errors import RecipeError, RunError
from zoo.json_files import parse_json, read_json
from zoo.recipe.load import Overrides, read_tree
from zoo.recipe.recorded import Recorded
from zoo.recipe.schema import SECTIONS
from zoo.recipe.source import read_yaml


def holds_run(path: Path) -> bool:
    """Whether there is a run in a folder."""
    return (path / "recipe.yaml").exists() or any(_states(path))


def no_run(path: Path) -> RunError:
    """The error that there is no run in a folder, and no weight file in its place."""
    if not path.exists():
        return RunError(f"{path}: there is no such weight file or run")
    return RunError(
        f"{path}: holds no run (no recipe.yaml, and no checkpoint); give the folder that `zoo train` made, or a weight"
        " file"
    )


def recorded_in(run: Path, overrides: Overrides = ()) -> Recorded:
    """The recipe of a run's folder, overridden; not yet checked.

    Where recipe.yaml is lost or damaged, the newest checkpoint that tells it stands in, with a warning.

    Raises:
        RunError: the folder holds no run, or the recipe is damaged and there is no checkpoint.
        RecipeError: an override is of no such form.
    """
    recipe = run / "recipe.yaml"
    damage = _damage_of(recipe)
    if damage is None:
        return Recorded(str(run), read_tree(recipe, overrides), *_versions(run))
    step, state = next(_states(run), (None, {}))
    if step is None:
        raise (
            RunError(f"{recipe}: {damage}; there is no checkpoint to take it from") if recipe.exists() else no_run(run)
        )
    warnings.warn(f"{recipe}: {damage}; the recipe is taken from {step}", stacklevel=1)  # once, whoever asks
    return Recorded(str(run), read_tree(state["recipe"], overrides), *_versions(run))


def _damage_of(recipe: Path) -> str | None:
    """Why a file is not what zoo wrote, as far as can be told without looking at values; None if there is nothing."""
    if not recipe.exists():
        return "is gone"
    try:
        tree = read_yaml(recipe).plain()
    except RecipeError as error:
        return f"is damaged: {str(error).split(': ', 1)[1]}"
    missing = [section for section in SECTIONS if not isinstance(tree, dict) or section not in tree]
    return f"is damaged: lacks {', '.join(missing)}" if missing else None


def _states(run: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The states of a run's checkpoints that are as they were written and hold a recipe: their names, newest first."""
    found = [path for path in run.glob("checkpoints/step_*/state.json") if path.parent.name[5:].isdecimal()]
    for path in sorted(found, reverse=True):
        with suppress(OSError, ValueError, LookupError, TypeError):  # damaged, or none of ours
            data = path.read_bytes()
            manifest = read_json(path.parent / "manifest.json")
            state = parse_json(data)
            is_whole = manifest["files"]["state.json"]["sha256"] == hashlib.sha256(data).hexdigest()
            if is_whole and isinstance(state["recipe"], Mapping):
                yield path.parent.name, state


def _versions(run: Path) -> tuple[dict[str, str], str]:
    """The versions of plug-ins and PyTorch at the last start; none where they cannot be told."""
    with suppress(OSError, ValueError, TypeError, LookupError):
        last = read_json(run / "run.json")[-1]
        return {str(name): str(version) for name, version in dict(last["plugins"]).items()}, str(last["torch"])
    return {}, ""
