"""Positions that break a law of theirs."""

from math import prod

import torch

from tests.testing.broken import Broken
from zoo.parts import Grid, Position, PositionEmbedding, Rotary
from zoo.registry import part
from zoo.testing.of_kind import position


@part("position", "half_split")
class HalfSplit(PositionEmbedding):
    """Angles of the halves of a head, as other codebases have them, in place of pairs."""

    gives = frozenset({"rotary"})

    def __init__(self, dim: int, heads: int, grid: Grid) -> None:
        super().__init__()
        angles = torch.arange(prod(grid)).outer(torch.arange(dim // heads // 2)).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self):
        return Position(rotary=Rotary(self.cos, self.sin))


@part("position", "two_angles")
class TwoAngles(HalfSplit):
    def forward(self):
        return Position(rotary=Rotary(torch.ones_like(self.cos), torch.ones_like(self.sin)))


BROKEN: list[Broken] = [
    (position.rotary_comes_in_pairs, HalfSplit, "are turned by different angles"),
    (position.rotary_comes_in_pairs, TwoAngles, "not of one angle"),
]
