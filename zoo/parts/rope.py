"""Rotary positions: the angles that queries and keys of the image tokens are turned by."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from zoo.parts.base import PositionEmbedding
from zoo.parts.positions import coordinates_of
from zoo.parts.values import Position, Rotary
from zoo.registry import part
from zoo.schedule import Grid
from zoo.signature import Part


@part("position", "rope")
class AxialRotary(PositionEmbedding):
    """Turns queries and keys by their coordinates: RoFormer (Su et al., 2021, section 3.4.2), once for each axis.

    Components 2i and 2i + 1 of a head are turned by one angle. The pairs are split evenly over the n axes, the first
    axis first: on two, the first half by ``row * omega_i``, the second by ``column * omega_i``, with
    ``omega_i = theta^(-2 n i / head_dim)`` and i < head_dim / 2n.

    Options:
        theta: base of the frequencies; larger turns the slow pairs less.
        add: a position whose table is added to the tokens too, such as ``sincos`` (LightningDiT has both).
        coordinates: ``own`` counts 0, 1, 2, ... on each patch's own grid; ``finest`` takes every second (third, ...)
            coordinate of the finest patch's grid, so that an offset in the image is the same angle at every patch.

    Raises:
        ValueError: dim / heads is not divisible into pairs for every axis.
    """

    gives = frozenset({"rotary"})

    def __init__(
        self,
        dim: int,
        heads: int,
        grid: Grid,
        stride: tuple[float, ...],
        *,
        theta: Annotated[float, Field(gt=1.0, le=1e9)] = 10_000.0,
        coordinates: Literal["own", "finest"] = "own",
        add: Part[PositionEmbedding] | None = None,
    ) -> None:
        super().__init__()
        if dim % (2 * len(grid) * heads):
            raise ValueError(
                f"dim / heads must divide by {2 * len(grid)} (pairs for every axis), and it is {dim} / {heads} ="
                f" {dim / heads:g}"
            )
        self.grid, self.pairs, self.theta = grid, dim // heads // 2 // len(grid), theta
        self.strides = (1.0,) * len(grid) if coordinates == "own" else stride
        self.register_buffer("cos", torch.empty(prod(grid), dim // heads))
        self.register_buffer("sin", torch.empty(prod(grid), dim // heads))
        self.cos: Tensor
        self.sin: Tensor
        self.add = None if add is None else add(dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make the tables, which have no random part."""
        if self.cos.is_meta:
            return
        omega = self.theta ** -(torch.arange(self.pairs, dtype=torch.float64, device="cpu") / self.pairs)
        by_axis = [torch.outer(each, omega) for each in coordinates_of(self.grid, self.strides)]
        angles = torch.cat(by_axis, dim=1).repeat_interleave(2, dim=1)
        self.cos.copy_(angles.cos())
        self.sin.copy_(angles.sin())

    def forward(self) -> Position:
        """Cosines and sines ``[N, head_dim]``, row-major; and what ``add`` gives."""
        added = Position() if self.add is None else self.add()
        return replace(added, rotary=Rotary(self.cos, self.sin))
