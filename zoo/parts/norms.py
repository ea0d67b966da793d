"""Norms of tokens, as parts of a block, and the built-in ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from zoo.parts.layers import NORM_EPS
from zoo.parts.module_part import ModulePart
from zoo.registry import part

Eps = Annotated[float, Field(gt=0.0, le=1.0)]


class Norm(ModulePart, ABC):
    """A norm over the last axis, the same for every token. Constructor: ``(dim, *, options)``."""

    kind = "norm"

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Normalised tokens, or queries or keys of the width of a head."""


@part("norm", "layer")
class LayerNorm(Norm):
    """LayerNorm (Ba et al., 2016), with a scale and a shift of its own or without.

    Options:
        affine: whether it has them; what modulates it gives both (DiT, section 3.2).
        eps: added to the variance.
    """

    def __init__(self, dim: int, *, affine: bool = False, eps: Eps = NORM_EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim)) if affine else None
        self.bias = nn.Parameter(torch.empty(dim)) if affine else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to one and the shift to zero."""
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, tokens: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Mean 0 and variance 1, scaled and shifted."""
        return F.layer_norm(tokens, tokens.shape[-1:], _as(tokens, self.weight), _as(tokens, self.bias), self.eps)


@part("norm", "rms")
class RMSNorm(Norm):
    """RMSNorm (Zhang and Sennrich, 2019), with a scale of its own or without.

    Options:
        affine: whether it has one.
        eps: added to the mean square.
    """

    def __init__(self, dim: int, *, affine: bool = False, eps: Eps = NORM_EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim)) if affine else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to one."""
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(self, tokens: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Mean square 1, scaled."""
        return F.rms_norm(tokens, tokens.shape[-1:], _as(tokens, self.weight), self.eps)


def _as(tokens: Tensor, weight: Tensor | None) -> Tensor | None:
    """A weight in the tokens' dtype: under autocast it stays float32, and two dtypes miss the fused kernel."""
    return None if weight is None else weight.to(tokens.dtype)
