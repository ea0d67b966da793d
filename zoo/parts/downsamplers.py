"""Built-in downsamplers: tokens to a coarser patch, or to another width."""

from __future__ import annotations

from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from zoo.parts.base import Downsampler
from zoo.parts.grids import behind, ratio, unshuffle
from zoo.parts.layers import Linear
from zoo.registry import part
from zoo.schedule import Grid


@part("downsampler", "linear")
class LinearDownsampler(Downsampler):
    """The fine tokens of each coarse one side by side, through a Linear; tokens in front pass by.

    At an equal patch it is a Linear on each token, also of those that a router lets go on.

    Column order of ``proj.weight``: (D, row, column of fine tokens).

    Options:
        init: of its weights; MaskDiT's narrower decoder starts from zero.
    """

    def __init__(
        self, dim: int, next_dim: int, patch: Grid, next_patch: Grid, *, init: Literal["xavier", "zero"] = "xavier"
    ) -> None:
        super().__init__()
        self.factor = ratio(next_patch, patch)
        self.proj = Linear(dim * prod(self.factor), next_dim, init=init)

    def forward(self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the coarser grid, behind those in front; and that grid."""
        image = self.proj(unshuffle(tokens[:, m:], grid, self.factor))
        return behind(tokens[:, :m], image), ratio(grid, self.factor)
