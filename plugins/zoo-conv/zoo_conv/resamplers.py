"""What takes the tokens of a map to another patch: 3x3 convolutions with pixel-unshuffle and pixel-shuffle.

Letters in shapes: b samples of one stage, D and D2 widths before and after, K width of what was kept, T and T2 all
tokens before and after, N2 image tokens after.
"""

from __future__ import annotations

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

import zoo
from zoo.parts import (
    Downsampler,
    Grid,
    Linear,
    Upsampler,
    behind,
    convolution,
    ratio,
    shuffle,
    to_map,
    to_tokens,
    unshuffle,
)


def on_map(conv: nn.Module, tokens: Tensor, grid: Grid) -> Tensor:
    """What a convolution that keeps the size makes of tokens [b, N, D] of a grid, as tokens [b, N, D2]."""
    return to_tokens(conv(to_map(tokens, grid)))


def finer(grid: Grid, factor: Grid) -> Grid:
    """The grid with so many tokens in the place of one, on each axis."""
    return tuple(side * each for side, each in zip(grid, factor, strict=True))


@zoo.part("downsampler", "conv_unshuffle")
class ConvUnshuffle(Downsampler):
    """A 3x3 convolution to a share of the next width, and pixel-unshuffle, which makes up for that: DiC, DiCo.

    Raises:
        ValueError: the next width is not divisible by the tokens that become one.
    """

    refuses = frozenset({"subset"})

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = ratio(next_patch, patch)
        if next_dim % prod(self.factor):
            raise ValueError(f"width {next_dim} is not divisible by the {prod(self.factor)} tokens that become one")
        self.conv = convolution(dim, next_dim // prod(self.factor), (3,) * len(patch), bias=False)

    def forward(self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the coarser grid, behind those in front, which pass by; and that grid."""
        image = unshuffle(on_map(self.conv, tokens[:, m:], grid), grid, self.factor)
        return behind(tokens[:, :m], image), ratio(grid, self.factor)


@zoo.part("upsampler", "conv_shuffle")
class ConvShuffle(Upsampler):
    """A 3x3 convolution to several times the next width, and pixel-shuffle: DiC."""

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = ratio(patch, next_patch)
        self.conv = convolution(dim, next_dim * prod(self.factor), (3,) * len(patch), bias=False)

    def forward(
        self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid, kept: Float[Tensor, "b N2 K"] | None = None
    ) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the finer grid, behind those in front, which pass by; and that grid."""
        image = shuffle(on_map(self.conv, tokens[:, m:], grid), grid, self.factor)
        return behind(tokens[:, :m], image), finer(grid, self.factor)


@zoo.part("upsampler", "conv_merge")
class ConvMerge(Upsampler):
    """A 3x3 convolution to twice the width, pixel-shuffle, and a Linear of that and of what was kept: DiCo.

    Raises:
        ValueError: twice the width is not divisible by the tokens that one becomes.
    """

    needs = frozenset({"kept"})

    def __init__(self, dim: int, next_dim: int, kept_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = ratio(patch, next_patch)
        if 2 * dim % prod(self.factor):
            raise ValueError(f"twice the width {dim} is not divisible by the {prod(self.factor)} tokens of each")
        self.conv = convolution(dim, 2 * dim, (3,) * len(patch), bias=False)
        self.merge = Linear(2 * dim // prod(self.factor) + kept_dim, next_dim)

    def forward(
        self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid, kept: Float[Tensor, "b N2 K"] | None = None
    ) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the finer grid, behind those in front, which pass by; and that grid."""
        assert kept is not None, "zoo gives what was kept to a part that needs it"
        image = shuffle(on_map(self.conv, tokens[:, m:], grid), grid, self.factor)
        return behind(tokens[:, :m], self.merge(torch.cat([image, kept], dim=2))), finer(grid, self.factor)
