"""A position embedding: where the tokens of a grid are."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

import zoo
from zoo.parts import Grid, Position, PositionEmbedding


@zoo.part("position", "mine")
class MinePositionEmbedding(PositionEmbedding):
    """Example: a learned vector for each row and one for each column, added up (axial: Ho et al., arXiv 1912.12180).

    Options:
        std: of the vectors when they start.
    """

    def __init__(self, dim: int, grid: Grid, *, std: Annotated[float, Field(ge=0.0, le=10.0)] = 0.02) -> None:
        super().__init__()
        self.std = std
        self.tables = nn.ParameterList([torch.empty(side, dim) for side in grid])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew: zoo calls this after building on the meta device."""
        for table in self.tables:
            nn.init.normal_(table, std=self.std)

    def forward(self) -> Position:
        """A table [N, D] to add."""
        total, *others = self.tables
        for table in others:
            total = total.unsqueeze(-2) + table
        return Position(add=total.flatten(0, -2))
