"""Normally distributed data, whose velocity and samples are known in closed form on every path."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from zoo.paths import AffinePath, LinearPath, Mixture


@dataclass(frozen=True)
class GaussianFlow:
    """Data from N(mean, std^2), each number by itself.

    Then z at noise level t has mean ``alpha mean`` and variance ``V = alpha^2 std^2 + sigma^2``; given z, the noise has
    mean ``sigma / V (z - alpha mean)``, and the data ``mean + alpha std^2 / V (z - alpha mean)``.
    """

    mean: float = 0.5
    std: float = 0.7
    path: AffinePath = field(default_factory=LinearPath)

    def velocity(self, z: Tensor, t: float) -> Tensor:
        """``E[dz/dt | z]``."""
        mixture = self.path.at(t)
        return mixture.velocity(self.data(z, t), self.noise(z, t))

    def data(self, z: Tensor, t: float) -> Tensor:
        """``E[data | z]``."""
        mixture = self.path.at(t)
        return self.mean + mixture.alpha * self.std**2 / self._variance(mixture) * (z - mixture.alpha * self.mean)

    def noise(self, z: Tensor, t: float) -> Tensor:
        """``E[noise | z]``."""
        mixture = self.path.at(t)
        return mixture.sigma / self._variance(mixture) * (z - mixture.alpha * self.mean)

    def samples(self, noise: Tensor) -> Tensor:
        """The state at t = 0 that the flow takes one at t = 1 to: it keeps the distance from the mean in deviations."""
        start = self.path.at(1.0)
        return self.deviate((noise - start.alpha * self.mean) / self._variance(start) ** 0.5, 0.0)

    def deviate(self, standard: Tensor, t: float) -> Tensor:
        """The state at t that is so many standard deviations from its mean."""
        mixture = self.path.at(t)
        return mixture.alpha * self.mean + self._variance(mixture) ** 0.5 * standard

    def _variance(self, mixture: Mixture) -> float:
        variance: float = mixture.alpha**2 * self.std**2 + mixture.sigma**2
        return variance
