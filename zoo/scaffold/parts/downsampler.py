"""A downsampler: tokens to coarser ones, or to another width."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

import zoo
from zoo.parts import Downsampler, Grid, Linear, behind, ratio, unshuffle


@zoo.part("downsampler", "mine")
class MineDownsampler(Downsampler):
    """Example: the mean, or the largest, of the fine tokens of each coarse one, and a Linear.

    Options:
        pool: which of the two.
    """

    def __init__(
        self, dim: int, next_dim: int, patch: Grid, next_patch: Grid, *, pool: Literal["mean", "max"] = "mean"
    ) -> None:
        super().__init__()
        self.factor, self.pool = ratio(next_patch, patch), pool
        self.proj = Linear(dim, next_dim)

    def forward(self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the coarser grid, behind those in front, which pass by; and that grid."""
        fine = unshuffle(tokens[:, m:], grid, self.factor)  # features ordered (feature, fine token)
        fine = fine.reshape(*fine.shape[:2], tokens.shape[2], -1)
        pooled = fine.mean(dim=3) if self.pool == "mean" else fine.amax(dim=3)
        return behind(tokens[:, :m], self.proj(pooled)), ratio(grid, self.factor)
