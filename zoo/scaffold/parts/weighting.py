"""A weighting: how much the error at a noise level counts."""

from __future__ import annotations

import math
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.flow import Weighting


@zoo.part("weighting", "mine")
class MineWeighting(Weighting):
    """``sigmoid(bias - log snr)``, snr = ((1 - t) / t)^2: data counts less (Kingma and Gao, 2023, arXiv 2303.00848).

    Options:
        bias: log of the signal-to-noise ratio whose weight is 1/2.
    """

    def __init__(self, *, bias: Annotated[float, Field(ge=-10.0, le=10.0)] = 0.0) -> None:
        self.bias = bias

    def weight(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The same as ``t^2 / (t^2 + exp(-bias) (1 - t)^2)``, which is finite at t = 0 and 1 too."""
        noise, signal = t.square(), (1 - t).square()
        return noise / (noise + math.exp(-self.bias) * signal)
