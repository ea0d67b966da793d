"""The names of a new package: of the distribution, of what is imported, of its parts and their classes."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name

from zoo.companions import COMPANIONS
from zoo.errors import PluginError, with_article
from zoo.kinds import KINDS
from zoo.plugins import PARTS

PART_NAME = re.compile(r"[a-z][a-z0-9_]*")
YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null"}
MOST_LETTERS = 100
"""Of a name. File systems take 255, and there are endings."""
BUILT_IN = re.compile(r'^@part\("(\w+)", "(\w+)"\)', re.MULTILINE)
"""How zoo's own parts are marked. To ask the classes would import torch, which takes a second."""


@dataclass(frozen=True)
class Names:
    """What a package and its parts are called.

    Attributes:
        distribution: what pip installs, such as ``zoo-mine``.
        package: what Python imports, ``zoo_mine``.
        part: what recipes say, ``mine``.
    """

    distribution: str
    package: str
    part: str

    @classmethod
    def of(cls, distribution: str, part: str | None = None) -> Names:
        """The names that follow from a distribution's, and its parts' where that is another.

        Raises:
            PluginError: one cannot be used.
        """
        try:
            package = canonicalize_name(distribution, validate=True).replace("-", "_")
        except InvalidName:
            raise PluginError(
                f"{distribution!r} is no name of a distribution: letters, digits and - _ . between them, such as"
                " zoo-mine"
            ) from None
        if not package.isidentifier() or keyword.iskeyword(package):
            raise PluginError(f"{distribution!r}: Python cannot import {package!r}; try zoo-{distribution}")
        found = importlib.util.find_spec(package)
        if found is not None and not _is_plugin(distribution):
            origin = found.origin or next(iter(found.submodule_search_locations or ()), "")
            raise PluginError(
                f"{distribution!r}: a package {package!r} can be imported already ({origin}); choose another name"
            )
        name = re.sub(r"^(diffusion_)?zoo_", "", package) if part is None else part
        if not PART_NAME.fullmatch(name):
            raise PluginError(
                f"{name!r} is no name of a part: lower-case letters, digits and _, such as linear_mlp; give one by"
                " --part"
            )
        if name in YAML_WORDS:
            raise PluginError(f"{name!r} is no text in a recipe, but a word of YAML; give another name by --part")
        if len(distribution) > MOST_LETTERS or len(name) > MOST_LETTERS:
            raise PluginError(
                f"a name of {max(len(distribution), len(name))} letters is too long; take {MOST_LETTERS} at most"
            )
        return cls(distribution, package, name)

    @property
    def prefix(self) -> str:
        """What class names begin with: ``Mine``."""
        return "".join(word.capitalize() for word in self.part.split("_"))

    @property
    def recipe(self) -> str:
        """Of the recipe that uses the parts."""
        return f"{self.part}_trial"

    def class_of(self, kind: str) -> str:
        """Of the part of a kind: ``MineBlock``."""
        return self.prefix + KINDS[kind].base.split(":")[1]

    def refuse_taken(self, kinds: Iterable[str]) -> None:
        """Refuse a name that a part of zoo's own has.

        Raises:
            PluginError: one has it.
        """
        for kind in kinds:
            if (kind, self.part) in built_in():
                raise PluginError(f"zoo has {with_article(kind)} {self.part!r} of its own; give another name by --part")

    def shared_with(self, kinds: Iterable[str]) -> list[str]:
        """What else is called as the parts are, and may be mistaken for them or be in their way."""
        notes = []
        others = sorted(kind for kind, name in built_in() if name == self.part)
        if others:
            whose = " and ".join(map(with_article, others))
            notes.append(f"zoo has {whose} {self.part!r}, too; --part NAME gives another name")
        for kind in kinds:
            if found := next((each for each in COMPANIONS if f"{kind}/{self.part}" in each.parts), None):
                taken = f"{found.name} has {with_article(kind)} {self.part!r}"
                notes.append(f"{taken}, and zoo takes neither where both are installed; --part NAME gives another name")
        return notes


def _is_plugin(distribution: str) -> bool:
    """Whether it is installed, and gives parts to zoo: its author may want more of them, to copy from."""
    try:
        return any(each.group == PARTS for each in metadata.distribution(distribution).entry_points)
    except metadata.PackageNotFoundError:
        return False


def built_in() -> set[tuple[str, str]]:
    """Kind and name of every part of zoo's own."""
    rooms = {kind.base.split(":")[0].split(".")[1] for kind in KINDS.values()}
    sources = (path for room in rooms for path in (Path(__file__).parents[1] / room).glob("*.py"))
    return {found for path in sources for found in BUILT_IN.findall(path.read_text(encoding="utf-8"))}
