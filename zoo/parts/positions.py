"""Built-in positions of the image tokens."""

from __future__ import annotations

from typing import Literal

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from zoo.parts.base import Position, PositionEmbedding
from zoo.registry import part
from zoo.schedule import Grid

MAX_PERIOD = 10_000.0


@part("position", "sincos")
class SinCosPosition(PositionEmbedding):
    """Fixed 2-D sine-cosine table (DiT; the first half of the width encodes the column, the second the row).

    With k < D / 4 and omega_k = 10000^(-4 k / D), each half is [sin(x omega), cos(x omega)] of its coordinate x.

    Options:
        coordinates: ``own`` counts 0, 1, 2, ... on each patch's own grid (MPDiT); ``finest`` takes every second (third,
            ...) coordinate of the finest patch's grid (PPFlow).
    """

    def __init__(
        self, dim: int, grid: Grid, patch: Grid, finest_patch: Grid, *, coordinates: Literal["own", "finest"] = "own"
    ) -> None:
        super().__init__()
        if dim % 4:
            raise ValueError(f"dim {dim} does not divide by 4")
        self.dim, self.grid = dim, grid
        self.strides = (1.0, 1.0) if coordinates == "own" else (patch[0] / finest_patch[0], patch[1] / finest_patch[1])
        self.register_buffer("table", torch.empty(grid[0] * grid[1], dim))
        self.table: Tensor
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make the table, which has no random part."""
        if self.table.is_meta:
            return
        # On the CPU, since not every device has float64.
        rows, columns = (
            _encode(torch.arange(side, dtype=torch.float64, device="cpu") * stride, self.dim // 2)
            for side, stride in zip(self.grid, self.strides, strict=True)
        )
        halves = [
            repeat(columns, "column half -> (row column) half", row=self.grid[0]),
            repeat(rows, "row half -> (row column) half", column=self.grid[1]),
        ]
        self.table.copy_(torch.cat(halves, dim=1))

    def forward(self) -> Position:
        """The table ``[N, D]``, to be added."""
        return Position(add=self.table)


@part("position", "none")
class NoPosition(PositionEmbedding):
    """No positions: the blocks see a set of tokens."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self) -> Position:
        """Neither a table nor angles."""
        return Position()


def _encode(coordinates: Float[Tensor, " n"], width: int) -> Float[Tensor, "n width"]:
    omega = MAX_PERIOD ** -(torch.arange(width // 2, dtype=torch.float64, device=coordinates.device) / (width // 2))
    angles = coordinates.unsqueeze(1) * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)
