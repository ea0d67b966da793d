"""Patch embedders: latents in, tokens out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.schedule import patch_name
from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law
from zoo.testing.place_laws import Link, keeps_places, over, pixel_at, some_places, token_at


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Latents of the case's grid."""
    return (random(batch, case.site.channels, *case.size),)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A token for every patch."""
    return [(batch, case.count, case.dim)]


def links(case: Case, part: Any) -> Iterator[Link]:
    """A pixel is in the token of its patch."""
    for place in some_places(case.size):
        token = token_at(over(place, case.site.patch), case.site.grid)
        yield Link(f"the pixel at {place} of {patch_name(case.size)}", 0, pixel_at(place), [token])


LAWS: dict[str, tuple[Law[Case], ...]] = {"patch_embedder": (keeps_places,)}
