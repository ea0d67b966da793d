"""Norms: tokens in, tokens of the same shape out."""

from __future__ import annotations

from typing import Any

import torch

from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, FEW, Case, Random
from zoo.testing.law import Law, law
from zoo.testing.place_laws import keeps_places


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens."""
    return (random(batch, case.m + case.count, case.dim),)


@law("Add a small number to what you divide by, as (variance + 1e-6).sqrt(): tokens may be all alike.", examples=FEW)
def is_finite_for_constant_tokens(case: Case) -> None:
    """Tokens whose numbers are all the same, or all zero, come out finite."""
    part, (tokens,) = case.build(dtype=torch.float32), case.inputs(BATCH, dtype=torch.float32)
    for value in (0.0, 1.0):
        found = case.call(part, (torch.full_like(tokens, value),))
        assert found.isfinite().all(), f"tokens that are {value} throughout come out not finite"


@law(
    "Take means over the last axis alone, and reshape() in place of view(): queries and keys come as [b, heads, tokens,"
    " width of a head], and not contiguous.",
    examples=FEW,
)
def norms_each_alone(case: Case) -> None:
    """A token comes out the same whatever axes are before its own, and however they lie in memory."""
    part, (tokens,) = case.build(), case.inputs(BATCH)
    own, doubled = (case.call(part, (each,)) for each in (tokens, 2 * tokens))
    for told, given, expected in (
        ("of all samples in a row", tokens.flatten(0, 1), own.flatten(0, 1)),
        ("alone", tokens[:1, :1], own[:1, :1]),
        ("of heads", torch.stack([tokens, 2 * tokens], 2).transpose(1, 2), torch.stack([own, doubled], 1)),
    ):
        found = case.call(part, (given,))
        assert_close(found, expected, f"tokens {told}, {list(given.shape)}, come out otherwise", SINGLE)


LAWS: dict[str, tuple[Law[Case], ...]] = {"norm": (keeps_places, is_finite_for_constant_tokens, norms_each_alone)}
