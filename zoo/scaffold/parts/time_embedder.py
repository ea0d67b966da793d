"""A time embedder: the noise level as a vector."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Linear, TimeEmbedder


@zoo.part("time_embedder", "mine")
class MineTimeEmbedder(TimeEmbedder):
    """Example: waves of random frequencies, drawn once, through a Linear (Song et al., 2021, arXiv 2011.13456).

    Options:
        frequencies: how many.
        std: of the frequencies.
    """

    def __init__(
        self,
        dim: int,
        *,
        frequencies: Annotated[int, Field(ge=1, le=4096)] = 64,
        std: Annotated[float, Field(gt=0.0, le=100.0)] = 2.0,
    ) -> None:
        super().__init__()
        self.std = std
        self.register_buffer("frequencies", torch.empty(frequencies))  # a buffer: saved, and not trained
        self.frequencies: Tensor
        self.proj = Linear(2 * frequencies, dim, init="normal")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the frequencies; the Linear does so by itself."""
        nn.init.normal_(self.frequencies, std=self.std)

    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Of noise levels in [0, 1], 0 = data; angles in float32 or wider, whatever the weights are."""
        wide = torch.promote_types(t.dtype, torch.float32)
        angles = 2 * math.pi * t.to(wide).unsqueeze(1) * self.frequencies.to(wide)
        return self.proj(torch.cat([angles.cos(), angles.sin()], dim=1).to(self.proj.weight.dtype))
