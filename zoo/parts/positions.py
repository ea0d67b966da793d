"""Built-in positions of the image tokens."""

from __future__ import annotations

from typing import Literal

import torch
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
            raise ValueError(f"sincos needs a width that divides by 4, and dim is {dim}")
        strides = (1.0, 1.0) if coordinates == "own" else (patch[0] / finest_patch[0], patch[1] / finest_patch[1])
        rows, columns = (
            torch.arange(side, dtype=torch.float64) * stride for side, stride in zip(grid, strides, strict=True)
        )
        table = torch.cat(
            [
                _encode(columns, dim // 2).unsqueeze(0).expand(grid[0], -1, -1),
                _encode(rows, dim // 2).unsqueeze(1).expand(-1, grid[1], -1),
            ],
            dim=-1,
        )
        self.register_buffer("table", table.flatten(0, 1).to(torch.get_default_dtype()), persistent=False)
        self.table: Tensor

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


def _encode(coordinates: Float[Tensor, n], width: int) -> Float[Tensor, "n width"]:
    omega = MAX_PERIOD ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = coordinates.unsqueeze(1) * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)
