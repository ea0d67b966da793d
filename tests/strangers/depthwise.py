"""A depthwise convolution with attention over channels, an FFN, and an upsampler that merges what was kept: DiCo's."""

from __future__ import annotations

from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

import zoo
from tests.strangers.convolutions import ConvDown, ConvHead, Convolution, Stem
from zoo.parts import (
    Block,
    Grid,
    Layout,
    Linear,
    Upsampler,
    Vectors,
    behind,
    layer_norm,
    modulate,
    shuffle,
    to_map,
    to_tokens,
)


@zoo.part("block", "dico")
class DiCoBlock(Block):
    """A modulated depthwise convolution whose channels are weighed by their means, and a modulated FFN.

    Tokens in front have no place on the map: they pass by the convolution, and go through the FFN.

    Options:
        ratio: hidden width of the FFN over dim.
    """

    axes = frozenset({2})
    refuses = frozenset({"subset"})

    def __init__(self, dim: int, *, ratio: Annotated[int, Field(ge=1, le=8)] = 2) -> None:
        super().__init__()
        self.inside, self.outside = Linear(dim, dim), Linear(dim, dim)
        self.depthwise = Convolution(dim, dim, 3, groups=dim)
        self.channels = Linear(dim, dim)
        self.fc1, self.fc2 = Linear(dim, ratio * dim), Linear(ratio * dim, dim)

    def forward_stage(self, tokens: Tensor, vectors: Vectors, layout: Layout, *taken: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors
        image = tokens[:, layout.m :]
        h = self.inside(modulate(layer_norm(image), shift1, scale1))
        h = F.gelu(to_tokens(self.depthwise(to_map(h, layout.grid))))
        h = h * self.channels(h.mean(dim=1, keepdim=True)).sigmoid()
        image = image + gate1.unsqueeze(1) * self.outside(h)
        tokens = behind(tokens[:, : layout.m], image)
        h = self.fc2(F.gelu(self.fc1(modulate(layer_norm(tokens), shift2, scale2))))
        return tokens + gate2.unsqueeze(1) * h


@zoo.part("upsampler", "conv_merge")
class ConvMerge(Upsampler):
    """A 3x3 convolution to twice the width, pixel-shuffle, and a 1x1 convolution of that and of what was kept."""

    axes = frozenset({2})
    needs = frozenset({"kept"})

    def __init__(self, dim: int, next_dim: int, kept_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = tuple(a // b for a, b in zip(patch, next_patch, strict=True))
        if 2 * dim % prod(self.factor):
            raise ValueError(f"twice the width {dim} does not divide by {prod(self.factor)} tokens")
        self.conv = Convolution(dim, 2 * dim, 3, bias=False)
        self.merge = Linear(2 * dim // prod(self.factor) + kept_dim, next_dim)

    def forward(self, tokens: Tensor, m: int, grid: Grid, kept: Tensor | None = None) -> tuple[Tensor, Grid]:
        assert kept is not None
        image = shuffle(to_tokens(self.conv(to_map(tokens[:, m:], grid))), grid, self.factor)
        image = self.merge(torch.cat([image, kept], dim=2))
        return behind(tokens[:, :m], image), tuple(a * b for a, b in zip(grid, self.factor, strict=True))


PARTS = [Stem, ConvHead, ConvDown, ConvMerge, DiCoBlock]
