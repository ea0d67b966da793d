"""A path: how much data and how much noise there is in the state at a noise level."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.flow import AffinePath


@zoo.part("path", "mine")
class MineAffinePath(AffinePath):
    """Example: the variance-preserving SDE's, in closed form (Song et al., 2021, arXiv 2011.13456, appendix C).

    Options:
        beta_max: rate at t = 1 at which noise is added; it grows evenly from 0.1 at t = 0.
    """

    def __init__(self, *, beta_max: Annotated[float, Field(ge=10.0, le=100.0)] = 20.0) -> None:
        self.beta_max = beta_max

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """How much data."""
        return torch.exp(self._log_alpha(t))

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``sqrt(1 - alpha^2)``, exact near t = 0 too."""
        return torch.sqrt(-torch.expm1(2 * self._log_alpha(t)))

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -0.25 * t.square() * (self.beta_max - 0.1) - 0.5 * t * 0.1
