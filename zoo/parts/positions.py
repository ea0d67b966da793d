"""Built-in positions of the image tokens."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.parts.base import PositionEmbedding
from zoo.parts.values import Position
from zoo.registry import part
from zoo.schedule import Grid

MAX_PERIOD = 10_000.0


@part("position", "sincos")
class SinCosPosition(PositionEmbedding):
    """Fixed sine-cosine table, a share of the width for each axis (DiT; the first half of the width encodes the column,
    the second the row).

    With n axes, k < D / 2n and omega_k = 10000^(-2n k / D), each share is [sin(x omega), cos(x omega)] of its
    coordinate x; the last axis comes first.

    Options:
        coordinates: ``own`` counts 0, 1, 2, ... on each patch's own grid (MPDiT); ``finest`` takes every second (third,
            ...) coordinate of the finest patch's grid (PPFlow).
    """

    def __init__(
        self, dim: int, grid: Grid, stride: tuple[float, ...], *, coordinates: Literal["own", "finest"] = "own"
    ) -> None:
        super().__init__()
        if dim % (2 * len(grid)):
            raise ValueError(
                f"dim {dim} is not divisible by {2 * len(grid)}: take a multiple of it, for a sine and a cosine of"
                " every axis"
            )
        self.dim, self.grid = dim, grid
        self.strides = (1.0,) * len(grid) if coordinates == "own" else stride
        self.register_buffer("table", torch.empty(prod(grid), dim))
        self.table: Tensor
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make the table, which has no random part."""
        if self.table.is_meta:
            return
        share = self.dim // len(self.grid)
        encoded = [_encode(each, share) for each in coordinates_of(self.grid, self.strides)]
        self.table.copy_(torch.cat(encoded[::-1], dim=1))

    def forward(self) -> Position:
        """The table ``[N, D]``, to be added."""
        return Position(add=self.table)


@part("position", "learned")
class LearnedPosition(PositionEmbedding):
    """A learned table of every grid, which starts at normal(0, 0.02): ViT (Dosovitskiy et al., 2021), U-ViT.

    Options:
        prefix: one for the tokens in front too, where there are any.
    """

    def __init__(self, dim: int, grid: Grid, m: int, *, prefix: bool = False) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(prod(grid), dim))
        self.prefix = nn.Parameter(torch.empty(m, dim)) if prefix and m else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the tables anew."""
        for table in (self.table, self.prefix):
            if table is not None:
                nn.init.normal_(table, std=0.02)

    def forward(self) -> Position:
        """The tables ``[N, D]`` and ``[m, D]``, to be added."""
        return Position(add=self.table, prefix=self.prefix)


@part("position", "none")
class NoPosition(PositionEmbedding):
    """No positions: the blocks see a set of tokens."""

    def forward(self) -> Position:
        """Neither a table nor angles."""
        return Position()


def coordinates_of(grid: Grid, strides: tuple[float, ...]) -> list[Float[Tensor, " N"]]:
    """The coordinate of every token, row-major, on each axis; in float64 on the CPU, since not every device has it."""
    sides = [
        torch.arange(side, dtype=torch.float64, device="cpu") * stride
        for side, stride in zip(grid, strides, strict=True)
    ]
    return [each.flatten() for each in torch.meshgrid(*sides, indexing="ij")]


def _encode(coordinates: Float[Tensor, " N"], width: int) -> Float[Tensor, "N width"]:
    omega = MAX_PERIOD ** -(torch.arange(width // 2, dtype=torch.float64, device=coordinates.device) / (width // 2))
    angles = coordinates.unsqueeze(1) * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)
