"""Time embedders: noise levels in, vectors out."""

from __future__ import annotations

from typing import Any

from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Noise levels in (0, 1)."""
    return (random(batch).sigmoid(),)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A vector a sample."""
    return [(batch, case.dim)]


LAWS: dict[str, tuple[Law[Case], ...]] = {"time_embedder": ()}
