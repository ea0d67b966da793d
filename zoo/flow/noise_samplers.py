"""Built-in noise samplers: which noise levels training looks at."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.flow.base import NoiseSampler
from zoo.flow.shift import Shift
from zoo.registry import part


@part("noise_sampler", "uniform")
class UniformNoise(NoiseSampler):
    """Every noise level alike, or more of those near noise or data by a shift.

    Options:
        shift: of the noise levels drawn; above 1, more of them are near noise.
    """

    def __init__(self, *, shift: Shift = 1.0) -> None:
        self.shift = shift

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``t = s u / (s u + 1 - u)``."""
        return _shifted(u, self.shift)

    def cdf(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``u = t / (t + s (1 - t))``."""
        return _shifted(t, 1 / self.shift)


@part("noise_sampler", "logit_normal")
class LogitNormalNoise(NoiseSampler):
    """``t = sigmoid(mean + std * n)`` with n standard normal: Stable Diffusion 3 (arXiv 2403.03206, section 3.1).

    Computed in float64, whatever the dtype of the inputs.

    Options:
        mean: of the log-odds of t; above 0 favours noise, below 0 data.
        std: standard deviation of the log-odds; small ones stay around ``sigmoid(mean)``.
        shift: of the noise levels drawn; above 1, more of them are near noise. It adds its logarithm to the mean.
    """

    def __init__(self, *, mean: float = 0.0, std: Annotated[float, Field(gt=0.0)] = 1.0, shift: Shift = 1.0) -> None:
        self.mean, self.std = mean + math.log(shift), std

    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``t = sigmoid(mean + log(s) + std * Phi^-1(u))``, Phi the normal distribution."""
        return torch.sigmoid(self.mean + self.std * torch.special.ndtri(u.double())).to(u.dtype)

    def cdf(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``u = Phi((log(t / (1 - t)) - mean - log(s)) / std)``."""
        # By erfc, which keeps its digits where the probability is tiny; torch.special.ndtr is 0 below -9 or so.
        return (0.5 * torch.special.erfc((self.mean - torch.logit(t.double())) / (self.std * math.sqrt(2)))).to(t.dtype)


def _shifted(t: Tensor, shift: float) -> Tensor:
    return shift * t / (shift * t + (1 - t))  # in this form exactly 0 at 0 and 1 at 1, and t where the shift is 1
