"""MLPs: tokens in, tokens of the same shape out."""

from __future__ import annotations

from typing import Any

import torch

from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, Case, Random
from zoo.testing.law import Law, law
from zoo.testing.of_kind.block import layout
from zoo.testing.of_kind.subset import runs_on_a_subset
from zoo.testing.place_laws import keeps_places


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens, and their layout."""
    part: Any = case.unmade
    return random(batch, case.m + case.count, case.dim), layout(case, part, batch, random)


@law("Set per_token = False where tokens see each other or their places, as in a convolution.")
def is_per_token(case: Case) -> None:
    """Where ``per_token`` says so, permuting tokens permutes the result, and other tokens change none of a token."""
    part: Any = case.build()
    if not part.per_token:
        return
    tokens, own = case.inputs(BATCH)
    plain, order = (
        part(tokens, own),
        torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(case.seed)),
    )
    message = "per_token is True, and a token's output depends on the others, or on its place"
    assert_close(part(tokens[:, order], own), plain[:, order], message, SINGLE)
    beside_others = torch.cat([tokens[:, :1], 1 - tokens[:, 1:]], dim=1)
    assert_close(part(beside_others, own)[:, :1], plain[:, :1], message, SINGLE)


LAWS: dict[str, tuple[Law[Case], ...]] = {"mlp": (keeps_places, is_per_token, runs_on_a_subset)}
