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
    """Example: ``sigmoid(bias - log snr)``: data counts less (Kingma and Gao, 2023, arXiv 2303.00848).

    Options:
        bias: log of the signal-to-noise ratio whose weight is 1/2.
    """

    def __init__(self, *, bias: Annotated[float, Field(ge=-10.0, le=10.0)] = 0.0) -> None:
        self.bias = bias

    def weight(self, t: Float[Tensor, " B"], snr: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The same as ``1 / (1 + exp(-bias) snr)``, which is finite at t = 1 too, where snr is 0."""
        return 1 / (1 + math.exp(-self.bias) * snr)
