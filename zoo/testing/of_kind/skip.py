"""Skips: image tokens and what joins them in, image tokens out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law
from zoo.testing.place_laws import Link, keeps_places, same_places


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens, and the latents' own patches or what was kept."""
    part: Any = case.unmade
    width = case.site.kept_dim if part.feeds == "kept" else case.site.next_dim
    return random(batch, case.count, case.site.next_dim), random(batch, case.count, width)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """The tokens as they came."""
    return [(batch, case.count, case.site.next_dim)]


def links(case: Case, part: Any) -> Iterator[Link]:
    """Tokens, and what joins them, stay where they are."""
    yield from same_places(case.site.grid)
    if part.feeds != "nothing":
        yield from same_places(case.site.grid, tensor=1, told="what joins the token")


LAWS: dict[str, tuple[Law[Case], ...]] = {"skip": (keeps_places,)}
