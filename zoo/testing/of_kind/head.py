"""Heads: image tokens in, latents out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.schedule import patch_name
from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law
from zoo.testing.place_laws import Link, keeps_places, pixel_at, some_places, token_at, within


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens, as many vectors as the head takes, and the grid."""
    part: Any = case.unmade
    vectors = tuple(random(batch, case.dim) for _ in range(part.modulation_vectors))
    return random(batch, case.count, case.dim), vectors, case.site.grid


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """Latents of the case's size."""
    return [(batch, case.site.channels, *case.size)]


def links(case: Case, part: Any) -> Iterator[Link]:
    """A token is in all pixels of its patch."""
    grid = case.site.grid
    for place in some_places(grid):
        pixels = [pixel_at(each) for each in within(place, case.site.patch)]
        yield Link(f"the token at {place} of {patch_name(grid)}", 0, token_at(place, grid), pixels)


LAWS: dict[str, tuple[Law[Case], ...]] = {"head": (keeps_places,)}
