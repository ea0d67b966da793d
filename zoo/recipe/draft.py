"""A recipe while it is being checked: what of it is valid, what is wrong, and where that was written."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from zoo.errors import KeyPath, RecipeError, dotted
from zoo.kinds import KINDS, path_of
from zoo.recipe.latent import PLANE
from zoo.recipe.messages import Problem
from zoo.recipe.parts import PartSpec
from zoo.recipe.recorded import Recorded
from zoo.recipe.schema import SECTIONS, Recipe
from zoo.recipe.source import Node, Origin
from zoo.registry import Registry

SUPPLIED_FROM: dict[str, tuple[KeyPath, ...]] = {
    **{name: (("backbone", name),) for name in ("dim", "depth", "heads")},
    "size": tuple(("backbone", "latent", key) for key in (*PLANE, "size")),
}
"""The keys that say what parts are supplied with, by its name."""

_KEYS = tuple(key for keys in SUPPLIED_FROM.values() for key in keys)


@dataclass
class Draft:
    """A recipe while it is being checked.

    Attributes:
        tree: the recipe with ``extends`` and ``--set`` applied.
        registry: the parts to choose from.
        packages: that it says its parts are of.
        values: by section, the fields that are valid.
        parts: by key path, the parts that are needed, that exist and whose options are valid; not those inside them.
        problems: what is wrong, and where.
        fault: of a part itself, which no other options would mend.
        unfit: parts that were filled in, such as the digits, and that refuse the backbone's numbers.
        missing: the parts that do not exist, and at which key path.
        recorded: of a recipe that zoo wrote, its record.
        needs: the sections whose parts are needed. Of a recorded recipe, others are kept as written where they
            cannot be checked.
    """

    tree: Node
    registry: Registry
    name: str = ""
    packages: tuple[str, ...] = ()
    values: dict[str, dict[str, Any]] = field(default_factory=lambda: {section: {} for section in SECTIONS})
    parts: dict[KeyPath, PartSpec] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    fault: Exception | None = None
    unfit: set[KeyPath] = field(default_factory=set)
    missing: list[tuple[KeyPath, str]] = field(default_factory=list)
    recorded: Recorded | None = None
    needs: Collection[str] = tuple(SECTIONS)

    def at(self, kind: str, key: Any = None) -> KeyPath | None:
        """Where the part of a kind that stands under a key of the backbone is written; None if it is not valid."""
        section, name = path_of(kind)
        path: KeyPath = (section, name)
        if path in self.parts:
            return path
        if not KINDS[kind].beside:  # a part that is kept as written, where it is not needed
            return None
        runs = [run.blocks for run in self.values[section].get(name) or ()]
        path = (*path, bisect_right(list(accumulate(runs)), key))
        return path if path in self.parts else None

    def put_down(self, path: KeyPath, message: str, about: Collection[KeyPath] = ()) -> None:
        """Say that something is wrong, as a ``Problem`` has it."""
        self.problems.append(Problem(path, message, about))

    def recipe(self) -> Recipe:
        """The validated recipe.

        Raises:
            RecipeError: there are problems; the message has a line for each. Its cause is the fault, if there is one.
        """
        if self.problems:
            raise RecipeError([self._line(problem) for problem in self.problems]) from self.fault
        sections: dict[str, Any] = {}
        for name, (_, section) in SECTIONS.items():
            unfit = frozenset(str(key) for place, key in self.unfit if place == name)
            sections[name] = section(**self.values[name], unfit=unfit)
        return Recipe(name=self.name, packages=self.packages, **sections)

    def _line(self, problem: Problem) -> str:
        path, message, about, _ = problem
        origin = self._origin(path, message)
        fallback = origin == self.tree.origin_of(("backbone",))  # the part is not written, but a default
        others = [
            f"{dotted(key[1:])} from {other}"
            for key in _KEYS
            if key != path and (key in about or re.search(rf"\b{re.escape(dotted(key))}\b", message))
            if self.tree.holds(key)
            and (other := self.tree.origin_of(key)) != origin
            and (fallback or other.source != origin.source or (key in about and _is_valued(key, message)))
        ]
        text = f"{dotted(path)}: {message}" if path else message
        return f"{origin}: {text}" + (f" ({', '.join(others)})" if others else "")

    def _origin(self, path: KeyPath, message: str) -> Origin:
        """Where what a problem is about was written: of a part that several overrides touch, what of it the message
        names, or else its type."""
        node = self.tree.nearest(path)
        if node.origin.line is not None or not isinstance(node.value, dict) or "type" not in node.value:
            return node.origin
        named = [key for key in node.value if re.search(rf"\b{re.escape(key)}\b", message)]
        return node.value[named[0] if named else "type"].origin


def _is_valued(key: KeyPath, message: str) -> bool:
    """Whether a message is about the number that stands at a key, as in ``dim 96 is not divisible by heads 5``."""
    return re.search(rf"\b{re.escape(str(key[-1]))} \d", message) is not None
