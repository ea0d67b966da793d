"""Positions: nothing in, tables and angles out."""

from __future__ import annotations

from typing import Any

import torch

from zoo.parts.facts import facts_of
from zoo.parts.values import tensors_in
from zoo.testing.asserts import assert_close
from zoo.testing.cases import Case, Random, Shape
from zoo.testing.law import Law, law


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """None."""
    return ()


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """The tables that there are, and two of angles where the part gives ``rotary``."""
    position: Any = part()
    found: list[Shape] = []
    if position.add is not None:
        found.append((case.count, case.dim))
    found += [(case.count, case.dim // case.site.heads)] * 2 * ("rotary" in facts_of(part).gives)
    if position.prefix is not None:
        found.append((case.m, case.dim))
    return found


@law("Repeat every angle twice side by side, as angles.repeat_interleave(2, dim=-1), and take cos and sin of the same.")
def rotary_comes_in_pairs(case: Case) -> None:
    """Both components of a pair, 2i and 2i + 1, are turned by the same angle, which is where blocks look for it."""
    rotary = case.outputs(case.build(), 1).rotary
    for tensor in tensors_in(rotary):
        assert torch.equal(tensor[:, 0::2], tensor[:, 1::2]), "components 2i and 2i + 1 are turned by different angles"
    if rotary is not None:
        unit = rotary.cos**2 + rotary.sin**2
        assert_close(unit, torch.ones_like(unit), "cosines and sines are not of one angle", 1e-6)


LAWS: dict[str, tuple[Law[Case], ...]] = {"position": (rotary_comes_in_pairs,)}
