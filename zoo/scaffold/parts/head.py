"""A head: tokens to latents."""

from __future__ import annotations

from math import prod
from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import Grid, Linear, TokenHead, Vectors, layer_norm, modulate


@zoo.part("head", "mine")
class MineHead(TokenHead):
    """Example: a modulated norm and an MLP that starts at zero.

    Options:
        ratio: hidden width over dim, rounded.
    """

    modulation_vectors = 2

    def __init__(
        self, dim: int, channels: int, patch: Grid, *, ratio: Annotated[float, Field(ge=0.25, le=16.0)] = 1.0
    ) -> None:
        super().__init__(patch)
        hidden = max(1, round(dim * ratio))
        self.hidden = Linear(dim, hidden)
        self.proj = Linear(hidden, prod(patch) * channels, init="zero")

    def pixels(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b N P"]:
        """Pixels of every token, ordered (row in patch, column in patch, channel)."""
        shift, scale = vectors
        return self.proj(F.silu(self.hidden(modulate(layer_norm(tokens), shift, scale))))
