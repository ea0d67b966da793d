"""A way down to fewer and narrower tokens, and back up: means of tokens down, copies of them up, each with a Linear."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

import zoo
from zoo.parts import Downsampler, Grid, Linear, Upsampler, behind, shuffle, unshuffle


@zoo.part("downsampler", "mean")
class MeanDown(Downsampler):
    """The mean of the fine tokens of each coarse one, an affine norm, and a Linear to the next width."""

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = tuple(b // a for a, b in zip(patch, next_patch, strict=True))
        self.norm, self.proj = nn.LayerNorm(dim), Linear(dim, next_dim)

    def forward(self, tokens: Tensor, m: int, grid: Grid) -> tuple[Tensor, Grid]:
        beside = unshuffle(tokens[:, m:], grid, self.factor).unflatten(2, (-1, prod(self.factor)))
        image = self.proj(self.norm(beside.mean(dim=3)))
        return behind(tokens[:, :m], image), tuple(a // b for a, b in zip(grid, self.factor, strict=True))


@zoo.part("upsampler", "copies")
class CopiesUp(Upsampler):
    """A Linear to the next width, a copy for every finer token, and what left the patch on the way down beside it."""

    needs = frozenset({"kept"})

    def __init__(self, dim: int, next_dim: int, kept_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = tuple(a // b for a, b in zip(patch, next_patch, strict=True))
        self.proj, self.kept = Linear(dim, next_dim), Linear(kept_dim, next_dim)

    def forward(self, tokens: Tensor, m: int, grid: Grid, kept: Tensor | None = None) -> tuple[Tensor, Grid]:
        assert kept is not None
        copies = self.proj(tokens[:, m:]).repeat_interleave(prod(self.factor), dim=2)
        image = shuffle(copies, grid, self.factor) + self.kept(kept)
        return behind(tokens[:, :m], image), tuple(a * b for a, b in zip(grid, self.factor, strict=True))


PARTS = [MeanDown, CopiesUp]
