"""A class conditioner: what the labels say."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Int
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import ClassCondition, Embedding, IndexConditioner, Linear


@zoo.part("class_conditioner", "mine")
class MineClassConditioner(IndexConditioner):
    """Example: a short vector a class, which a Linear widens (Lan et al., 2020, arXiv 1909.11942, section 3.1).

    Labels are class indices [B]; ``num_classes`` stands for no condition. For labels of another form derive from
    ``ClassConditioner``.

    Options:
        rank: width of the short vectors.
    """

    gives = frozenset({"label"})

    def __init__(self, dim: int, num_classes: int, *, rank: Annotated[int, Field(ge=1, le=4096)] = 16) -> None:
        super().__init__(num_classes)
        self.embedding = Embedding(num_classes + 1, rank, std=1.0)
        self.proj = Linear(rank, dim)

    def forward(self, labels: Int[Tensor, " B"]) -> ClassCondition:
        """A vector [B, D]."""
        return ClassCondition(vector=self.proj(self.embedding(labels)))
