"""Skips: image tokens and what joins them in, image tokens out."""

from __future__ import annotations

from typing import Any

from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens, and the latents' own patches or what was kept."""
    part: Any = case.build(device="meta")
    width = case.site.kept_dim if part.feeds == "kept" else case.site.next_dim
    return random(batch, case.count, case.site.next_dim), random(batch, case.count, width)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """The tokens as they came."""
    return [(batch, case.count, case.site.next_dim)]


LAWS: dict[str, tuple[Law[Case], ...]] = {"skip": ()}
