"""A stage embedder: which stage it is, as a vector."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import StageEmbedder


@zoo.part("stage_embedder", "mine")
class MineStageEmbedder(StageEmbedder):
    """Example: from one learned vector, for the noisiest stage, to another in even steps.

    Options:
        std: of both when they start.
    """

    def __init__(self, dim: int, stages: int, *, std: Annotated[float, Field(ge=0.0, le=10.0)] = 0.02) -> None:
        super().__init__()
        self.stages, self.std = stages, std
        self.ends = nn.Parameter(torch.empty(2, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both anew: zoo calls this after building on the meta device."""
        nn.init.normal_(self.ends, std=self.std)

    def forward(self, stage: int) -> Float[Tensor, " D"]:
        """The vector [D] of a stage, 0 = noisiest."""
        way = (stage + 0.5) / self.stages  # never at an end, or a single stage would leave one without a gradient
        return (1 - way) * self.ends[0] + way * self.ends[1]
