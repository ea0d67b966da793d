"""Statistics of latents, from sums over what is stored of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from zoo.data.latent_index import StatisticsRecord

AT_ONCE = 64


class Sums:
    """Sums over posteriors, for the statistics of their samples: by the law of total variance, nothing is drawn.

    They are numpy's, since those of PyTorch may depend on the number of its threads in their last bits.

    Args:
        channels: of a latent.
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._mean, self._square, self._variance = np.zeros((3, channels))

    def add(self, stored: Float[Tensor, "n P H W"]) -> None:
        """Take in means and log-variances, or means alone."""
        channels = len(self._mean)
        for start in range(0, len(stored), AT_ONCE):
            values = stored[start : start + AT_ONCE].numpy().astype(np.float64)
            mean, logvar = values[:, :channels], values[:, channels:]
            self._count += mean[:, 0].size
            self._mean += mean.sum((0, 2, 3))
            self._square += np.square(mean).sum((0, 2, 3))
            if logvar.shape[1]:
                self._variance += np.exp(logvar).sum((0, 2, 3))

    def join(self, other: Sums) -> None:
        """Take in what another one has."""
        self._count += other._count
        self._mean += other._mean
        self._square += other._square
        self._variance += other._variance

    def statistics(self) -> StatisticsRecord:
        """Mean and standard deviation of each channel."""
        mean = self._mean / self._count
        variance = (self._square + self._variance) / self._count - np.square(mean)
        deviation = np.sqrt(variance.clip(min=0))
        return StatisticsRecord(of="samples", mean=tuple(mean.tolist()), std=tuple(deviation.tolist()))
