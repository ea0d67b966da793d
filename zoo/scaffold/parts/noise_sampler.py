"""A noise sampler: which noise levels training looks at."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.flow import NoiseSampler


@zoo.part("noise_sampler", "mine")
class MineNoiseSampler(NoiseSampler):
    """Example: uniform noise levels, shifted towards noise or data (Esser et al., 2024, arXiv 2403.03206, equation 23).

    Options:
        shift: above 1 towards noise, below 1 towards data.
    """

    def __init__(self, *, shift: Annotated[float, Field(ge=0.1, le=10.0)] = 3.0) -> None:
        self.shift = shift

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``t = s u / (s u + 1 - u)``: exactly 0 at 0, and 1 at 1."""
        return self.shift * u / (self.shift * u + (1 - u))

    def cdf(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``u = t / (t + s (1 - t))``."""
        return t / (t + self.shift * (1 - t))
