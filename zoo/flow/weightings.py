"""Built-in weightings: how much the squared velocity error counts at each noise level.

snr(t) is the signal-to-noise ratio ``((1 - t) / t)^2`` of ``z_t = (1 - t) data + t noise``. It is infinite at t = 0, so
that t is clamped from below where it is used. Uniform weights on the velocity error are themselves weights
``1 / t^2 = (1 + sqrt(snr))^2`` on the error of the data that the velocity stands for, ``data = z - t v``.

MPDiT's published code has options of the same names that mean the inverse, so that noise counts most: its ``snr`` is
``t / (1 - t)`` and its ``min_snr`` is ``min(t / (1 - t), 3)``. The paper's models are trained with uniform weights.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.flow.base import Weighting
from zoo.registry import part

Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


@part("weighting", "uniform")
class UniformWeighting(Weighting):
    """``1``: the plain flow-matching loss."""

    def weight(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Ones."""
        return torch.ones_like(t)


@part("weighting", "snr")
class SNRWeighting(Weighting):
    """``((1 - t) / t)^2``: clean samples count most.

    Options:
        min_t: smaller t are taken as this one.
    """

    def __init__(self, *, min_t: Probability = 1e-3) -> None:
        self.min_t = min_t

    def weight(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """``((1 - t) / t)^2`` with ``t = max(t, min_t)``."""
        return _snr(t, self.min_t)


@part("weighting", "min_snr")
class MinSNRWeighting(Weighting):
    """``min(((1 - t) / t)^2, gamma)``: after Min-SNR (arXiv 2303.09556), here on the velocity error.

    Options:
        gamma: the largest weight.
        min_t: smaller t are taken as this one.
    """

    def __init__(self, *, gamma: Annotated[float, Field(gt=0.0)] = 5.0, min_t: Probability = 1e-3) -> None:
        self.gamma, self.min_t = gamma, min_t

    def weight(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """``min(((1 - t) / t)^2, gamma)`` with ``t = max(t, min_t)``."""
        return _snr(t, self.min_t).clamp(max=self.gamma)


def _snr(t: Tensor, min_t: float) -> Tensor:
    t = t.clamp(min=min_t)
    return ((1 - t) / t).square()
