"""Outputs of blocks that someone asks for: which there are, and those of a batch in its order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import index

import torch
from jaxtyping import Int
from torch import Tensor

from zoo.parts.values import Tap


def checked_taps(taps: Collection[int], blocks: int) -> frozenset[int]:
    """Indices of blocks, each once.

    Args:
        taps: what was asked for; counted from 0, and none from the end.
        blocks: how many there are.

    Raises:
        ValueError: one is none of them.
    """
    try:
        asked = [index(each) for each in taps]
    except TypeError:
        raise ValueError(f"taps: must be indices of blocks, such as (0, {blocks - 1}), got {taps!r}") from None
    for each in asked:
        if not 0 <= each < blocks:
            raise ValueError(f"taps: there is no block {each}; there are 0 to {blocks - 1}")
    return frozenset(asked)


def in_batch_order(
    tapped: Sequence[Mapping[int, Tap]], stages: Sequence[int], places: Int[Tensor, " B"]
) -> dict[int, Tap]:
    """The taps of a batch, from those of its stages.

    Args:
        tapped: by stage, and by block.
        stages: index of each, to name it.
        places: where among the rows of all, stage by stage, each sample of the batch is [B].

    Raises:
        ValueError: tokens of different stages make no one tensor.
    """
    return {block: _joined(block, [own[block] for own in tapped], stages, places) for block in tapped[0]}


def _joined(block: int, taps: Sequence[Tap], stages: Sequence[int], places: Tensor) -> Tap:
    first = taps[0]
    for stage, tap in zip(stages, taps, strict=True):
        if _laid_out(tap) != _laid_out(first):
            raise ValueError(
                f"taps: block {block} has {_laid_out(first)} in stage {stages[0]} and {_laid_out(tap)} in stage"
                f" {stage}, which make no one tensor; give samples of one stage, or call forward_stages"
            )
    indices = [tap.index for tap in taps if tap.index is not None]
    return Tap(
        torch.cat([tap.tokens for tap in taps])[places],
        first.m,
        first.grid,
        torch.cat(indices)[places] if indices else None,
    )


def _laid_out(tap: Tap) -> str:
    """What tokens are, in words; those of equal words can be joined."""
    _, count, width = tap.tokens.shape
    grid = " x ".join(map(str, tap.grid))
    kept = "" if tap.index is None else f", of which {count - tap.m} are kept"
    return f"{tap.m} tokens in front of a grid of {grid}{kept}, of width {width}"
