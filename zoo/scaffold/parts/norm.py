"""A norm of tokens, or of queries and keys."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Norm


@zoo.part("norm", "mine")
class MineNorm(Norm):
    """Example: dynamic tanh in place of a norm, ``weight * tanh(alpha * x) + bias`` (Zhu et al., arXiv 2503.10622).

    Options:
        alpha: where the learned alpha starts.
    """

    def __init__(self, dim: int, *, alpha: Annotated[float, Field(gt=0.0, le=10.0)] = 0.5) -> None:
        super().__init__()
        self.start = alpha
        self.alpha = nn.Parameter(torch.empty(1))
        self.weight = nn.Parameter(torch.empty(dim))
        self.bias = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all three: zoo calls this after building on the meta device."""
        nn.init.constant_(self.alpha, self.start)
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, tokens: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Of every token alone, in its own dtype: under autocast the weights stay float32."""
        alpha, weight, bias = (each.to(tokens.dtype) for each in (self.alpha, self.weight, self.bias))
        return weight * torch.tanh(alpha * tokens) + bias
