"""Modulations: conditions in, the vectors of all blocks and heads out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.parts.facts import facts_of
from zoo.parts.values import Condition, Modulations
from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """A condition of every width, with a label where there is one, and a stage."""
    label = case.site.has_label

    def condition(width: int) -> Condition:
        return Condition(*(random(batch, width) if own else None for own in (True, label, True)))  # type: ignore[arg-type]

    return ({width: condition(width) for width in case.site.widths},)


def call(case: Case, part: Any, inputs: tuple[Any, ...]) -> Any:
    """The vectors of all blocks; a part may make them when they are asked for."""
    made = part(*inputs)
    return replace(made, blocks=list(made.blocks)) if isinstance(made, Modulations) else made


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """As many vectors as every block and head asks for, and the tokens in front, if the part gives them."""
    gives = "vectors" in facts_of(part).gives
    slots = [*case.site.blocks, *case.site.heads_by_width.values()]
    vectors: list[Shape] = [(batch, slot.dim) for slot in slots for _ in range(slot.vectors)] if gives else []
    return vectors + [(batch, part.tokens, width) for width in case.site.widths] * bool(part.tokens)


LAWS: dict[str, tuple[Law[Case], ...]] = {"modulation": ()}
