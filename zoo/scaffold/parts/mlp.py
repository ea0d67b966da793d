"""An MLP: what a block does to its tokens beside attention."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import MLP, Layout, Linear


@zoo.part("mlp", "mine")
class MineMLP(MLP):
    """Example: Linear, squared ReLU, Linear (So et al., 2021, arXiv 2109.08668).

    Options:
        ratio: hidden width over dim, rounded.
    """

    per_token = True  # lets a block call it once for the tokens of all stages

    def __init__(self, dim: int, *, ratio: Annotated[float, Field(ge=0.25, le=16.0)] = 4.0) -> None:
        super().__init__()
        hidden = max(1, round(dim * ratio))
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, tokens: Float[Tensor, "B T D"], layout: Layout) -> Float[Tensor, "B T D"]:
        """Every token alone."""
        return self.fc2(F.relu(self.fc1(tokens)).square())
