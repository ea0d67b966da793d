"""A block of 3x3 convolutions, steered in its middle by three vectors, that takes skips itself: DiC's."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import zoo
from tests.strangers.convolutions import ConvDown, ConvHead, Convolution, ConvUp, Stem
from zoo.parts import Block, Layout, Place, Vectors, to_map, to_tokens


def mirrored(place: Place, every: int) -> int | None:
    """The block on the way down whose output a block on the way up takes, by its index in the backbone.

    On the way down the last block of a level leaves its output, and every ``every``-th one before it; on the way up the
    first block of a level takes one, and every ``every``-th one after it: last in, first out.
    """
    levels = place.levels
    here = levels[place.level]
    alike = [number for number in range(place.level) if levels[number].node == here.node]
    if not alike or place.block % every:
        return None
    there = alike[-1]
    block = levels[there].blocks - 1 - place.block
    return sum(level.blocks for level in levels[:there]) + block if block >= 0 else None


def the_same(taken: set[int | None]) -> tuple[int, ...]:
    """What a block takes, which has to be the same in all stages."""
    if len(taken) > 1:
        raise ValueError(f"takes the output of another block in one stage than in another: {taken}")
    return tuple(each for each in taken if each is not None)


@zoo.part("block", "dic")
class DiCBlock(Block):
    """Two 3x3 convolutions; gate, scale and shift act between them.

    Options:
        every: blocks from one skip to the next.
    """

    axes = frozenset({2})
    refuses = frozenset({"prefix", "subset"})
    modulation_vectors = 3

    def __init__(self, dim: int, places: tuple[Place, ...], *, every: Annotated[int, Field(ge=1)] = 3) -> None:
        super().__init__()
        self.takes = the_same({mirrored(place, every) for place in places})
        width = dim * (1 + len(self.takes))
        self.norm1 = nn.GroupNorm(_groups(width), width)
        self.conv1 = Convolution(width, dim, 3)
        self.norm2 = nn.GroupNorm(_groups(dim), dim)
        self.conv2 = Convolution(dim, dim, 3)
        self.residual = Convolution(width, dim, 1) if self.takes else nn.Identity()

    def forward_stage(self, tokens: Tensor, vectors: Vectors, layout: Layout, *taken: Tensor) -> Tensor:
        gate, scale, shift = (vector[:, :, None, None] for vector in vectors)
        x = to_map(torch.cat([tokens, *taken], dim=2), layout.grid)
        h = self.conv1(F.gelu(self.norm1(x)))
        h = self.conv2(F.gelu(self.norm2(h) * (1 + scale) + shift))
        return to_tokens(gate * h + self.residual(x).to(x.dtype))


def _groups(channels: int) -> int:
    return min(32, max(1, channels // 4))


PARTS = [Stem, ConvHead, ConvDown, ConvUp, DiCBlock]
