"""Normally distributed data, whose velocity and samples are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GaussianFlow:
    """Data from N(mean, std^2), each number by itself.

    Then z at noise level t has mean ``(1 - t) mean`` and variance ``V = (1 - t)^2 std^2 + t^2``; given z, the noise has
    mean ``t / V (z - (1 - t) mean)``, and the data ``mean + (1 - t) std^2 / V (z - (1 - t) mean)``.
    """

    mean: float = 0.5
    std: float = 0.7

    def velocity(self, z: Tensor, t: float) -> Tensor:
        """``E[noise - data | z]``."""
        variance = (1 - t) ** 2 * self.std**2 + t**2
        return (t - (1 - t) * self.std**2) / variance * (z - (1 - t) * self.mean) - self.mean

    def samples(self, noise: Tensor) -> Tensor:
        """Where the flow takes noise at t = 1 to."""
        return self.mean + self.std * noise
