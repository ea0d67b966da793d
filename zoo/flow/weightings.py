"""Built-in weightings: how much the squared error of the prediction counts at each noise level.

snr is the path's signal-to-noise ratio, ``(alpha / sigma)^2``, sigma taken as at least 0.001 there. On the straight
line, uniform weights on the velocity error are themselves weights ``1 / t^2 = (1 + sqrt(snr))^2`` on the error of the
data that the velocity stands for, ``data = z - t v``.

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


@part("weighting", "uniform")
class UniformWeighting(Weighting):
    """``1``: the plain loss."""

    def weight(self, t: Float[Tensor, " B"], snr: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Ones."""
        return torch.ones_like(t)


@part("weighting", "snr")
class SNRWeighting(Weighting):
    """``snr``: clean samples count most."""

    def weight(self, t: Float[Tensor, " B"], snr: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The ratio itself."""
        return snr


@part("weighting", "min_snr")
class MinSNRWeighting(Weighting):
    """``min(snr, gamma)``: after Min-SNR (arXiv 2303.09556), here on the error of whatever is predicted.

    Options:
        gamma: the largest weight.
    """

    def __init__(self, *, gamma: Annotated[float, Field(gt=0.0)] = 5.0) -> None:
        self.gamma = gamma

    def weight(self, t: Float[Tensor, " B"], snr: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The ratio, or gamma where that is less."""
        return snr.clamp(max=self.gamma)
