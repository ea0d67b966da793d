"""An upsampler: coarse tokens to finer ones."""

from __future__ import annotations

from math import prod
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Grid, Linear, Upsampler, behind, ratio, shuffle


@zoo.part("upsampler", "mine")
class MineUpsampler(Upsampler):
    """Example: a Linear, and a copy of each token for every finer one, which a learned vector tells apart.

    Options:
        std: of these vectors when they start.
    """

    def __init__(
        self,
        dim: int,
        next_dim: int,
        patch: Grid,
        next_patch: Grid,
        *,
        std: Annotated[float, Field(ge=0.0, le=10.0)] = 0.02,
    ) -> None:
        super().__init__()
        self.factor, self.std = ratio(patch, next_patch), std
        self.proj = Linear(dim, next_dim)
        self.places = nn.Parameter(torch.empty(next_dim, prod(self.factor)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew: zoo calls this after building on the meta device."""
        nn.init.normal_(self.places, std=self.std)

    def forward(
        self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid, kept: Float[Tensor, "b N2 K"] | None = None
    ) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the finer grid, behind those in front, which pass by; and that grid."""
        copies = (self.proj(tokens[:, m:]).unsqueeze(3) + self.places).flatten(2)
        finer = tuple(side * factor for side, factor in zip(grid, self.factor, strict=True))
        return behind(tokens[:, :m], shuffle(copies, grid, self.factor)), finer
