"""Rotary position embedding of a grid of tokens.

Letters in shapes: N image tokens, m class tokens, T = m + N all tokens.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import Grid, Position, PositionEmbedding, Rotary


@zoo.part("position", "rope")
class AxialRotary(PositionEmbedding):
    """Turns queries and keys by row and column: RoFormer (Su et al., 2021, section 3.2), once for each axis.

    Components 2i and 2i + 1 of a head are turned by one angle: the first half of the pairs by ``row * omega_i``, the
    second by ``column * omega_i``, with ``omega_i = theta^(-4 i / head_dim)`` and i < head_dim / 4.

    Options:
        theta: base of the frequencies; larger turns the slow pairs less.
        coordinates: ``own`` counts 0, 1, 2, ... on each patch's own grid; ``finest`` takes every second (third, ...)
            coordinate of the finest patch's grid, so that an offset in the image is the same angle at every patch.

    Raises:
        ValueError: dim / heads does not divide by 4.
    """

    gives_rotary = True

    def __init__(
        self,
        dim: int,
        heads: int,
        grid: Grid,
        patch: Grid,
        finest_patch: Grid,
        *,
        theta: Annotated[float, Field(gt=1.0, le=1e9)] = 10_000.0,
        coordinates: Literal["own", "finest"] = "own",
    ) -> None:
        super().__init__()
        if dim % (4 * heads):
            raise ValueError(
                f"dim / heads must divide by 4 (pairs for rows and pairs for columns), and it is {dim} / {heads} ="
                f" {dim / heads:g}"
            )
        self.grid, self.pairs, self.theta = grid, dim // heads // 4, theta
        self.strides = (1.0, 1.0) if coordinates == "own" else (patch[0] / finest_patch[0], patch[1] / finest_patch[1])
        self.register_buffer("cos", torch.empty(grid[0] * grid[1], dim // heads))
        self.register_buffer("sin", torch.empty(grid[0] * grid[1], dim // heads))
        self.cos: Tensor
        self.sin: Tensor
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make the tables, which have no random part."""
        if self.cos.is_meta:
            return
        # On the CPU, since not every device has float64.
        omega = self.theta ** -(torch.arange(self.pairs, dtype=torch.float64, device="cpu") / self.pairs)
        rows, columns = (
            torch.outer(torch.arange(side, dtype=torch.float64, device="cpu") * stride, omega)
            for side, stride in zip(self.grid, self.strides, strict=True)
        )
        angles = torch.cat(
            [
                repeat(rows, "row pair -> (row column) (pair two)", column=self.grid[1], two=2),
                repeat(columns, "column pair -> (row column) (pair two)", row=self.grid[0], two=2),
            ],
            dim=1,
        )
        self.cos.copy_(angles.cos())
        self.sin.copy_(angles.sin())

    def forward(self) -> Position:
        """Cosines and sines ``[N, head_dim]``, row-major."""
        return Position(rotary=Rotary(self.cos, self.sin))


def turn(x: Float[Tensor, "*batch T head_dim"], rotary: Rotary, m: int) -> Float[Tensor, "*batch T head_dim"]:
    """Turn each pair of components of the image tokens; the first m tokens have no position and stay.

    Args:
        x: queries or keys [..., T, head_dim].
        rotary: cosines and sines [N, head_dim].
        m: class tokens in front.
    """
    image = x[..., m:, :]
    even, odd = rearrange(image, "... (pair two) -> two ... pair", two=2).unbind()
    quarter_turn = torch.stack([-odd, even], dim=-1).flatten(-2)
    turned = image * rotary.cos + quarter_turn * rotary.sin
    return torch.cat([x[..., :m, :], turned.to(x.dtype)], dim=-2)
