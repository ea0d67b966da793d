"""What the parts of an assembly ask of each other, and where they do not go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, starmap
from typing import Any

from torch import nn

from zoo.attributes import WORDS, mistakes
from zoo.errors import KeyPath
from zoo.parts.module_part import ModulePart
from zoo.signature import MARK

TAKEN_BY_NONE = frozenset({"prefix", "subset", "kept"})
"""Facts that are there whether or not a part takes notice of them."""

PUT_IN_FRONT = {"class_conditioner": "class_tokens", "modulation": "tokens"}
"""Kinds whose parts put tokens in front of the image's, and the attribute that says how many."""


@dataclass(frozen=True)
class Facts:
    """What a part, and those inside it, ask of the rest of an assembly."""

    needs: frozenset[str]
    uses: frozenset[str]
    gives: frozenset[str]
    refuses: frozenset[str]
    axes: frozenset[int]

    @property
    def takes(self) -> frozenset[str]:
        """Facts that the part takes where they are given."""
        return self.needs | self.uses


@dataclass(frozen=True)
class Member:
    """A part of an assembly.

    Attributes:
        kind: of the part.
        name: as recipes name it.
        facts: of it.
        path: where a recipe says it.
        unmet: facts that do not come to its place, though others give them.
    """

    kind: str
    name: str
    facts: Facts
    path: KeyPath
    unmet: frozenset[str] = frozenset()


def mistakes_in(part: nn.Module) -> Iterator[str]:
    """What cannot be read of what a part, and those inside it, say of themselves once they are built."""
    kinds = {each: getattr(each, MARK, (None,))[0] for each in part.modules() if isinstance(each, ModulePart)}
    found = [mistake for each, kind in kinds.items() for mistake in mistakes(each, kind)]
    yield from found or chain.from_iterable(starmap(_miscounts, kinds.items()))


def _miscounts(part: nn.Module, kind: str | None) -> Iterator[str]:
    """Where a part puts tokens in front and does not say that it gives some, or the other way round."""
    name = PUT_IN_FRONT.get(kind or "")
    if name is None:
        return
    count, gives = getattr(part, name), facts_of(part).gives
    if (count > 0) != ("prefix" in gives):
        says = ", ".join(sorted(gives)) or "nothing"
        yield f"has {name} = {count}, and gives {says}; let it give 'prefix' where it has tokens, and only there"


def facts_of(part: nn.Module) -> Facts:
    """What a part asks, with what those inside it do: what takes vectors needs a modulation that gives some, and a skip
    that is fed with what was kept needs that."""
    members: list[Any] = [each for each in part.modules() if isinstance(each, ModulePart)]
    implied = {"vectors" for each in members if getattr(each, "modulation_vectors", 0)}
    implied |= {"kept" for each in members if getattr(each, "feeds", None) == "kept"}
    return Facts(
        needs=_union(each.needs for each in members) | implied,
        uses=_union(each.uses for each in members),
        gives=_union(each.gives for each in members),
        refuses=_union(each.refuses for each in members),
        axes=frozenset.intersection(*(frozenset(each.axes) for each in members)) if members else frozenset((1, 2, 3)),
    )


def disagreements(members: Sequence[Member], axes: int) -> Iterator[tuple[Member, str]]:
    """Where parts do not go together, and what to say of which of them.

    Args:
        members: all parts of an assembly.
        axes: of its latents.
    """
    given = _union(each.facts.gives for each in members) | {"kept"}
    taken = _union(each.facts.takes - each.unmet for each in members) | TAKEN_BY_NONE
    for member in members:
        facts, called = member.facts, f"{member.kind} {member.name!r}"
        for fact in sorted(facts.needs - given):
            yield member, f"{called} needs {WORDS[fact]}, and {_none_gives(fact, members)}"
        for fact in sorted(facts.needs & given & member.unmet):
            yield member, f"{called} needs {WORDS[fact]}, and gets none at its place"
        for fact in sorted(facts.gives - taken):
            yield member, f"{called} gives {WORDS[fact]}, and no part takes that"
        for fact in sorted(facts.refuses & given - member.unmet):
            givers = ", ".join(
                dict.fromkeys(f"{each.kind} {each.name!r}" for each in members if fact in each.facts.gives)
            )
            yield member, f"{called} cannot stand {WORDS[fact]}, which {givers} gives"
        if axes not in facts.axes:
            yield member, other_axes(called, facts.axes, axes)


def other_axes(called: str, taken: Iterable[int], axes: int) -> str:
    """What to say of a part that does not take latents of so many axes."""
    takes = " or ".join(map(str, sorted(taken))) or "none"
    return f"{called} takes latents of {takes} {'axis' if takes == '1' else 'axes'}, and these have {axes}"


GIVERS = {"rotary": "position", "context": "class_conditioner", "label": "class_conditioner", "vectors": "modulation"}
"""The kind that a fact comes from, to name the part that does not give it."""


def _none_gives(fact: str, members: Iterable[Member]) -> str:
    own = next((each for each in members if each.kind == GIVERS.get(fact)), None)
    return f"{own.kind} {own.name!r} gives none" if own else "no part gives any"


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)
