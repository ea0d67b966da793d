"""Norms: tokens in, tokens of the same shape out."""

from __future__ import annotations

from typing import Any

from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens."""
    return (random(batch, case.m + case.count, case.dim),)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """Tokens as they came."""
    return [(batch, case.m + case.count, case.dim)]


LAWS: dict[str, tuple[Law[Case], ...]] = {"norm": ()}
