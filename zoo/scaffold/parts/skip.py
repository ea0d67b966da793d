"""A skip: what joins the tokens after an upsampler."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Linear, Skip


@zoo.part("skip", "mine")
class MineSkip(Skip):
    """Example: what left the finer patch on the way down, through a Linear and times a learned gate, is added.

    Options:
        gate: where the gate starts, the same for all features.
    """

    feeds = "kept"

    def __init__(self, next_dim: int, kept_dim: int, *, gate: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.5) -> None:
        super().__init__()
        self.start = gate
        self.proj = Linear(kept_dim, next_dim)
        self.gate = nn.Parameter(torch.empty(next_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the gate: zoo calls this after building on the meta device."""
        nn.init.constant_(self.gate, self.start)

    def forward(self, image: Float[Tensor, "b N D"], other: Float[Tensor, "b N K"]) -> Float[Tensor, "b N D"]:
        """The image tokens, joined."""
        return image + self.gate * self.proj(other)
