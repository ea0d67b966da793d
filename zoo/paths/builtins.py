"""Built-in paths."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.paths.base import AffinePath
from zoo.registry import part


@part("path", "linear")
class LinearPath(AffinePath):
    """The straight line ``z = (1 - t) data + t noise``, whose velocity is ``noise - data``: flow matching, SiT's."""

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``1 - t``."""
        return 1 - t

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``t``."""
        return t

    def rates(self, t: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        """-1 and 1."""
        return -torch.ones_like(t), torch.ones_like(t)


@part("path", "gvp")
class TrigonometricPath(AffinePath):
    """``cos(pi t / 2) data + sin(pi t / 2) noise``, which keeps the variance: SiT's GVP (arXiv 2401.08740)."""

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``cos(pi t / 2)``."""
        return torch.cos(math.pi / 2 * t)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``sin(pi t / 2)``."""
        return torch.sin(math.pi / 2 * t)


@part("path", "vp")
class VariancePreservingPath(AffinePath):
    """DDPM's (arXiv 2006.11239): 1000 steps that add noise of variances from 0.0001 to 0.02, evenly spaced.

    ``alpha(t)^2`` is the product of ``1 - beta_i`` of the first 1000 t steps: 1 at t = 0, DDPM's ``alpha_bar`` of its
    timestep k at ``t = (k + 1) / 1000``, and the gamma function's way from one to the next between. The time embedder
    is fed ``k / 1000``, so that one of scale 1000 sees DDPM's timesteps 0 to 999.
    """

    steps, first, last = 1000, 1e-4, 0.02

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``sqrt(alpha_bar)``."""
        return torch.exp(self._log_alpha_bar(t) / 2)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``sqrt(1 - alpha_bar)``."""
        return torch.sqrt(-torch.expm1(self._log_alpha_bar(t)))

    def clock(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """DDPM's timestep over 1000; 0 below the first."""
        return (t - 1 / self.steps).clamp(min=0)

    def _log_alpha_bar(self, t: Tensor) -> Tensor:
        # prod_{i<n} (1 - beta_i) = prod_{i<n} rise (top - i) = rise^n Gamma(top + 1) / Gamma(top + 1 - n)
        rise = (self.last - self.first) / (self.steps - 1)
        top = torch.full_like(t, (1 - self.first) / rise + 1)
        n = self.steps * t
        return n * math.log(rise) + torch.lgamma(top) - torch.lgamma(top - n)


@part("path", "edm")
class EDMPath(AffinePath):
    """``data + s noise`` brought to unit variance: EDM (arXiv 2206.00364), whose ``c_in z`` is the state.

    ``s(t)`` goes from ``sigma_min`` to ``sigma_max`` as EDM's steps do, evenly in ``s^(1 / rho)``; what is left of the
    noise at t = 0, ``sigma_min``, stays in the samples. The time embedder is fed t.

    Options:
        sigma_min: noise at t = 0, beside data of ``sigma_data``.
        sigma_max: noise at t = 1.
        sigma_data: standard deviation of the data.
        rho: above 1, more of the noise levels are near the data.
    """

    def __init__(
        self,
        *,
        sigma_min: Annotated[float, Field(gt=0.0, le=0.05)] = 0.002,
        sigma_max: Annotated[float, Field(ge=10.0, le=1e4)] = 80.0,
        sigma_data: Annotated[float, Field(gt=0.0, le=4.0)] = 0.5,
        rho: Annotated[float, Field(ge=1.0, le=100.0)] = 7.0,
    ) -> None:
        self.low, self.high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
        self.sigma_data, self.rho = sigma_data, rho

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``c_in = 1 / sqrt(s^2 + sigma_data^2)``."""
        return torch.rsqrt(self._level(t).square() + self.sigma_data**2)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """``s c_in``."""
        return self._level(t) * self.alpha(t)

    def _level(self, t: Tensor) -> Tensor:
        return (self.low + t * (self.high - self.low)) ** self.rho
