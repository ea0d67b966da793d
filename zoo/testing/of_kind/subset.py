"""What parts of a block do with some of the image's tokens, as a router lets go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.parts.values import tensors_in
from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, Case, sample_of

Kept = Callable[[tuple[Any, ...], Tensor], tuple[Any, ...]]
"""From a part's inputs to those of the image tokens at an index [b, K], and their layouts."""


def check_subset(case: Case, kept: Kept) -> None:
    """A part that does not refuse ``subset`` takes any tokens of the image, by their places and angles.

    Each sample's are others, and what it gives for them depends on no other sample's; all of them give what they give
    where no router is.

    Raises:
        AssertionError: it does otherwise, or fails.
    """
    from zoo.parts.facts import facts_of

    part = case.build()
    if "subset" in facts_of(part).refuses:
        return
    inputs = case.inputs(BATCH)
    every = torch.arange(case.count).expand(BATCH, -1)
    drawn = torch.rand(BATCH, case.count, generator=torch.Generator().manual_seed(case.seed))
    some = drawn.topk((case.count + 1) // 2, dim=1).indices.sort(dim=1).values
    together = _outputs(case, part, kept(inputs, some))
    shapes = [(BATCH, case.m + some.shape[1], case.dim)]
    assert [each.shape for each in together] == shapes, (
        f"returns shapes {[tuple(each.shape) for each in together]} in place of {shapes} for some of the image's tokens"
    )
    for sample in range(BATCH):
        own = tuple(sample_of(each, sample) for each in kept(inputs, some))
        message = "a sample's output depends on which tokens of the others go on"
        assert_close(sample_of(together, sample), _outputs(case, part, own), message, SINGLE)
    by_index, whole = (_outputs(case, part, each) for each in (kept(inputs, every), inputs))
    assert_close(by_index, whole, "an index of all tokens changes what they give", SINGLE)


def _outputs(case: Case, part: Any, inputs: tuple[Any, ...]) -> list[Tensor]:
    try:
        return tensors_in(case.call(part, inputs))
    except Exception as error:
        raise AssertionError(f"fails on some of the image's tokens ({error})") from error
