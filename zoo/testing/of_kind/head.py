"""Heads: image tokens in, latents out."""

from __future__ import annotations

from typing import Any

from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens, as many vectors as the head takes, and the grid."""
    part: Any = case.build(device="meta")
    vectors = tuple(random(batch, case.dim) for _ in range(part.modulation_vectors))
    return random(batch, case.count, case.dim), vectors, case.site.grid


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """Latents of the case's size."""
    return [(batch, case.site.channels, *case.size)]


LAWS: dict[str, tuple[Law[Case], ...]] = {"head": ()}
