"""Patch embedders: latents in, tokens out."""

from __future__ import annotations

from typing import Any

from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Latents of the case's grid."""
    return (random(batch, case.site.channels, *case.size),)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A token for every patch."""
    return [(batch, case.count, case.dim)]


LAWS: dict[str, tuple[Law[Case], ...]] = {"patch_embedder": ()}
