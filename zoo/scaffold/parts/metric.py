"""A metric: generated images against real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import Field

import zoo
from zoo.evaluate import FeatureSet, Metric


@zoo.part("metric", "mine")
class MineMetric(Metric):
    """Example: squared maximum mean discrepancy of the features, by a polynomial kernel: KID (arXiv 1801.01401).

    Options:
        degree: of the polynomial.
    """

    needs = ("pooled",)

    def __init__(self, *, degree: Annotated[int, Field(ge=1, le=5)] = 3) -> None:
        self.degree = degree

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``mine``, without bias; less is better, and 0 what equal distributions have in the mean.

        Raises:
            ValueError: there are fewer than two images of either.
        """
        if min(len(real), len(generated)) < 2:
            raise ValueError("distances within a set need two images of it")
        x, y = (each.pooled.astype(np.float64) for each in (real, generated))
        between = self._kernel(x, y).mean()
        return {"mine": float(self._within(x) + self._within(y) - 2 * between)}

    def _kernel(self, x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "k D"]) -> Float[np.ndarray, "n k"]:
        return (x @ y.T / x.shape[1] + 1) ** self.degree

    def _within(self, x: Float[np.ndarray, "n D"]) -> float:
        """The mean over pairs of two images."""
        kernel = self._kernel(x, x)
        return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
