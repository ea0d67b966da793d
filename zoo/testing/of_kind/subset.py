"""The law of what parts of a block do with some of the image's tokens, as a router lets go on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.parts.facts import facts_of
from zoo.parts.routers import keep_tokens
from zoo.parts.values import Group, tensors_in
from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, Case, sample_of
from zoo.testing.law import law


@law("Go by layout.index, which tells the places of the tokens, or let the part say refuses = {'subset'}.")
def runs_on_a_subset(case: Case) -> None:
    """Of the tokens, such as a router lets go on, it takes any; or it refuses ``subset``.

    Each sample's are others, and what it gives for them depends on no other sample's; all of them give what they give
    where no router is.
    """
    part = case.build()
    if "subset" in facts_of(part).refuses:
        return
    inputs = case.inputs(BATCH)
    every = torch.arange(case.count).expand(BATCH, -1)
    drawn = torch.rand(BATCH, case.count, generator=torch.Generator().manual_seed(case.seed))
    some = drawn.topk((case.count + 1) // 2, dim=1).indices.sort(dim=1).values
    together = _outputs(case, part, _kept(inputs, some))
    shapes = [(BATCH, case.m + some.shape[1], case.dim)]
    assert [each.shape for each in together] == shapes, (
        f"returns shapes {[tuple(each.shape) for each in together]} in place of {shapes} for some of the image's tokens"
    )
    for sample in range(BATCH):
        own = tuple(sample_of(each, sample) for each in _kept(inputs, some))
        message = "a sample's output depends on which tokens of the others go on"
        assert_close(sample_of(together, sample), _outputs(case, part, own), message, SINGLE)
    by_index, whole = (_outputs(case, part, each) for each in (_kept(inputs, every), inputs))
    assert_close(by_index, whole, "an index of all tokens changes what they give", SINGLE)


def _kept(inputs: Any, index: Tensor) -> tuple[Any, ...]:
    """Inputs of a block, of attention or of an MLP, of the image tokens at an index [b, K]."""
    match inputs:
        case ([Group() as group],):
            tokens, layout = keep_tokens(group.tokens, group.layout, index)
            taken = tuple(keep_tokens(each, group.layout, index)[0] for each in group.taken)
            return ([group._replace(tokens=tokens, layout=layout, taken=taken)],)
        case ([tokens], [layout]):
            return tuple([each] for each in keep_tokens(tokens, layout, index))
        case _:
            tokens, layout = inputs
            return keep_tokens(tokens, layout, index)


def _outputs(case: Case, part: Any, inputs: tuple[Any, ...]) -> list[Tensor]:
    try:
        return tensors_in(case.call(part, inputs))
    except Exception as error:
        raise AssertionError(f"fails on some of the image's tokens ({error})") from error
