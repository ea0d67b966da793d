"""Which packages and parts something was made with, and what is otherwise here. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zoo.companions import UNKNOWN, pip_install
from zoo.errors import PluginError
from zoo.parts_file import kept_copy
from zoo.plugins import Plugin, normalised, zoo_version
from zoo.shell import command


class PartVersion(BaseModel):
    """Of which plug-in a part is, and which version of itself."""

    model_config = ConfigDict(frozen=True, strict=True)

    kind: str
    name: str
    plugin: str
    version: Annotated[int, Field(ge=1)]

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


class Versions(BaseModel):
    """What a recipe is trained, drawn or judged with.

    Attributes:
        packages: the versions of zoo, of PyTorch, and of the plug-ins that the recipe has parts of.
        parts: those of the recipe.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    packages: dict[str, str]
    parts: tuple[PartVersion, ...]

    @model_validator(mode="after")
    def _packages_are_on_record(self) -> Self:
        if not {part.plugin for part in self.parts} <= self.packages.keys():
            raise ValueError("parts of plug-ins whose versions are not on record")
        return self

    @classmethod
    def here(cls, plugins: Mapping[str, str], parts: tuple[PartVersion, ...]) -> Versions:
        """Those of this process, whatever zoo a part that is kept as it was written was of."""
        own = {"zoo": zoo_version(), "torch": metadata.version("torch")}
        return cls(packages=dict(sorted({**plugins, **own}.items())), parts=tuple(dict.fromkeys(parts)))

    @classmethod
    def read(cls, values: object) -> Versions:
        """Those that zoo has written.

        Raises:
            ValueError: it has not.
        """
        return cls.model_validate_json(json.dumps(values))

    def to_plain(self) -> dict[str, Any]:
        """As zoo writes them."""
        return self.model_dump(mode="json")

    def part(self, kind: str, name: str) -> PartVersion | None:
        """The part of that name, if it is on record."""
        return next((part for part in self.parts if (part.kind, part.name) == (kind, name)), None)

    def plugin_of(self, part: PartVersion) -> Plugin:
        """The plug-in of a part, with its version."""
        return Plugin(part.plugin, self.packages[part.plugin])

    def otherwise(self, here: Versions) -> str | None:
        """What is otherwise here, in words; None if nothing is.

        Only parts that are on both records count, and their packages. Builds of one version, such as PyTorch's for CPUs
        and for GPUs, are the same.
        """
        pairs = list(self.pairs(here))
        used = dict.fromkeys(["torch", *(now.plugin for _, now in pairs)])
        both = [(name, self.packages[name], here.packages[name]) for name in used if name in self.packages]
        other = [(f"{name} {one}", f"{name} {two}") for name, one, two in both if _release(one) != _release(two)]
        for before, now in pairs:
            was, by_now = self.plugin_of(before), here.plugin_of(now)
            moved = (was.is_file or by_now.is_file) and was.name != by_now.name and was.version != by_now.version
            if moved or _is_another(was, by_now):
                other.append((f"{before} of {was.name}", f"{now} of {by_now.name}"))
            elif before.version != now.version:
                other.append((f"{before} in version {before.version}", f"in version {now.version}"))
        if not other:
            return None
        return f"{', '.join(one for one, _ in other)}; here are {', '.join(two for _, two in other)}"

    def pairs(self, here: Versions) -> Iterator[tuple[PartVersion, PartVersion]]:
        """The parts of both records: as they were, and as they are here."""
        for now in here.parts:
            before = self.part(now.kind, now.name)
            if before is not None:
                yield before, now


@dataclass(frozen=True)
class Made:
    """What weights were made with.

    Attributes:
        where: the weight file or checkpoint, for messages.
        start: what ``train.init`` takes to start from them.
        versions: it was made with.
    """

    where: str
    start: str
    versions: Versions

    def copy_of(self, file: Plugin) -> Path | None:
        """The copy that a run's folder keeps of a file of parts, if it is there."""
        return kept_copy(Path(self.start), file)

    def refuse_other_origins(self, here: Versions, *, packaged: bool) -> None:
        """Refuse parts of packages that have the names of recorded ones and are others': they may compute anything.

        A file, or a class in Python, was given by whoever asks, and is told of.

        Args:
            here: what there is.
            packaged: only where the recorded one is of a package, too.

        Raises:
            PluginError: there is such a part.
        """
        for before, now in self.versions.pairs(here):
            was, by_now = self.versions.plugin_of(before), here.plugin_of(now)
            if _is_another(was, by_now) and (was.is_packaged or not packaged):
                raise PluginError(
                    f"{self.where}: {now} is of {by_now.name} {by_now.version} here, and was of {was.name}"
                    f" {was.version}; {self._way_back(was, by_now)}"
                )

    def _way_back(self, was: Plugin, now: Plugin) -> str:
        """How to have a part as it was, whose name another package has by now."""
        wanted = [was] if was.is_packaged else []
        steps = []
        if now.name == "zoo":  # which has a part of that name by now
            wanted.append(Plugin("zoo", self.versions.packages.get("zoo", UNKNOWN)))
        else:
            steps.append(f"uninstall {now.name}" + ("" if wanted else ", or leave it out by ZOO_PLUGINS,"))
        if wanted:
            steps.append(pip_install(*wanted))
        if was.is_file:
            steps.append(f"give {command('--parts', self.copy_of(was) or was.name)}")
        return " and ".join(steps)

    def refuse_other_parts(self, here: Versions) -> None:
        """Refuse parts that compute something else from the same options and weights, as their versions say.

        Raises:
            PluginError: there is such a part.
        """
        for before, now in self.versions.pairs(here):
            if before.version != now.version:
                was, by_now = self.versions.plugin_of(before), here.plugin_of(now)
                mend = pip_install(was) if was.is_packaged else "give the part as it was"
                if was.is_file and (kept := self.copy_of(was)):
                    mend += f", by {command('--parts', kept)}"
                raise PluginError(
                    f"{self.where}: {now} is in version {now.version} here ({by_now.name} {by_now.version}), and was in"
                    f" version {before.version} ({was.name} {was.version}): it computes something else; {mend}, or"
                    f" begin another run from these weights with train.init={self.start}"
                )

    def otherwise(self, here: Versions) -> str | None:
        """What is otherwise here, in a line; None if nothing is."""
        other = self.versions.otherwise(here)
        return None if other is None else f"{self.where}: made with {other}"


def _is_another(was: Plugin, now: Plugin) -> bool:
    """Whether a part is of a package by now, and was of another or of a file; a class that was in no package may have
    come into one."""
    names = was.name, now.name
    known = was.is_packaged or was.is_file
    return known and now.is_packaged and len(set(names)) == 2 and len(set(map(normalised, names))) == 2


def _release(version: str) -> str:
    return version.partition("+")[0]
