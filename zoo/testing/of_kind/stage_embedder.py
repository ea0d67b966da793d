"""Stage embedders: the number of a stage in, its vector out."""

from __future__ import annotations

from typing import Any

from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """The numbers of all stages."""
    return tuple(range(case.site.stages))


def call(case: Case, part: Any, inputs: tuple[Any, ...]) -> Any:
    """What it gives for each."""
    return [part(stage) for stage in inputs]


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A vector for every stage that has one."""
    return [(case.dim,) for stage in range(case.site.stages) if part(stage) is not None]


LAWS: dict[str, tuple[Law[Case], ...]] = {"stage_embedder": ()}
