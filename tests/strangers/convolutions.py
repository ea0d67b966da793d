"""What convolutional backbones begin and end with, and come down by, as somebody outside of zoo would write it."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

import zoo
from zoo.parts import (
    Downsampler,
    Grid,
    Head,
    PatchEmbedder,
    Upsampler,
    Vectors,
    behind,
    layer_norm,
    modulate,
    shuffle,
    to_map,
    to_tokens,
    unpatchify,
    unshuffle,
)


class Convolution(nn.Conv2d):
    """A convolution that keeps the size, xavier-uniform or zero at the start, and without bias there."""

    def __init__(self, inputs: int, outputs: int, side: int, *, groups: int = 1, bias: bool = True, zero: bool = False):
        self.zero = zero
        super().__init__(inputs, outputs, side, padding=side // 2, groups=groups, bias=bias)

    def reset_parameters(self) -> None:
        if self.zero:
            nn.init.zeros_(self.weight)
        else:
            nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


@zoo.part("patch_embedder", "stem")
class Stem(PatchEmbedder):
    """A strided convolution that sees one pixel beyond its patch on every side: 3x3 where the patch is a pixel."""

    axes = frozenset({2})

    def __init__(self, dim: int, channels: int, patch: Grid) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, dim, tuple(side + 2 for side in patch), stride=patch, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        return to_tokens(self.conv(latents))


@zoo.part("head", "conv_out")
class ConvHead(Head):
    """A modulated LayerNorm and a 3x3 convolution to the pixels of each patch, starting at zero.

    Options:
        smooth: a plain 3x3 convolution before it.
        learn_sigma: 2C output channels, the second half dropped.
    """

    axes = frozenset({2})

    def __init__(
        self, dim: int, channels: int, patch: Grid, *, smooth: bool = False, learn_sigma: bool = False
    ) -> None:
        super().__init__()
        self.channels, self.patch = channels, patch
        self.outputs = 2 * channels if learn_sigma else channels
        self.smooth = Convolution(dim, dim, 3) if smooth else nn.Identity()
        self.out = Convolution(dim, prod(patch) * self.outputs, 3, zero=True)

    def forward(self, tokens: Tensor, vectors: Vectors, grid: Grid) -> Tensor:
        smooth = to_tokens(self.smooth(to_map(tokens, grid)))
        pixels = to_tokens(self.out(to_map(modulate(layer_norm(smooth), *vectors), grid)))
        return unpatchify(pixels, grid, self.patch)[:, : self.channels]


@zoo.part("downsampler", "conv_unshuffle")
class ConvDown(Downsampler):
    """A 3x3 convolution to a share of the width, and pixel-unshuffle, which makes up for that."""

    axes = frozenset({2})
    refuses = frozenset({"subset"})

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = tuple(b // a for a, b in zip(patch, next_patch, strict=True))
        if next_dim % prod(self.factor):
            raise ValueError(f"width {next_dim} does not divide by the {prod(self.factor)} tokens that become one")
        if prod(self.factor) == 1:  # where a router may have left out some of the map
            self.refuses = frozenset({"subset"})
        self.conv = Convolution(dim, next_dim // prod(self.factor), 3, bias=False)

    def forward(self, tokens: Tensor, m: int, grid: Grid) -> tuple[Tensor, Grid]:
        image = unshuffle(to_tokens(self.conv(to_map(tokens[:, m:], grid))), grid, self.factor)
        return behind(tokens[:, :m], image), tuple(a // b for a, b in zip(grid, self.factor, strict=True))


@zoo.part("upsampler", "conv_shuffle")
class ConvUp(Upsampler):
    """A 3x3 convolution to several times the width, and pixel-shuffle."""

    axes = frozenset({2})

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = tuple(a // b for a, b in zip(patch, next_patch, strict=True))
        self.conv = Convolution(dim, next_dim * prod(self.factor), 3, bias=False)

    def forward(self, tokens: Tensor, m: int, grid: Grid, kept: Tensor | None = None) -> tuple[Tensor, Grid]:
        image = shuffle(to_tokens(self.conv(to_map(tokens[:, m:], grid))), grid, self.factor)
        return behind(tokens[:, :m], image), tuple(a * b for a, b in zip(grid, self.factor, strict=True))
