"""Frechet distances between Gaussians fitted to features: FID (arXiv 1706.08500) and sFID (arXiv 2103.03841)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from zoo.evaluate.base import FeatureSet, Gaussian, Metric, Moments
from zoo.registry import part

ROWS = 1024
"""Images whose features are in memory as float64 at once."""


def fitted(features: Float[np.ndarray, "n D"]) -> Gaussian:
    """The Gaussian of features; the covariance is the unbiased one, as in ADM's evaluator.

    Raises:
        ValueError: fewer than two rows.
    """
    if len(features) < 2:
        raise ValueError(f"a covariance needs two images or more, not {len(features)}")
    mean = features.mean(axis=0, dtype=np.float64)
    products = np.zeros((features.shape[1], features.shape[1]))
    for first in range(0, len(features), ROWS):
        apart = features[first : first + ROWS] - mean
        products += apart.T @ apart
    return Gaussian(mean, products / (len(features) - 1))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, at least 0.

    The trace of the root is that of ``(S1^(1/2) S2 S1^(1/2))^(1/2)``, which is symmetric, so that covariances of fewer
    images than features need no offset.
    """
    from scipy import linalg  # a tenth of a second, that only evaluation should cost

    values, vectors = linalg.eigh(one.covariance)
    root = vectors * np.sqrt(values.clip(min=0))
    inner = linalg.eigvalsh(root.T @ other.covariance @ root)
    trace_of_root = np.sqrt(inner.clip(min=0)).sum()
    apart = np.square(one.mean - other.mean).sum()
    distance = apart + np.trace(one.covariance) + np.trace(other.covariance) - 2 * trace_of_root
    return max(float(distance), 0.0)


@part("metric", "fid")
class FID(Metric):
    """Frechet distance of pooled features, as it is and over the variance of the real ones."""

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``fid``, and ``fid_relative``: 0 is the same Gaussian, 1 is as far as the real images spread.

        Raises:
            ValueError: a set has fewer than two images, or the real ones do not differ.
        """
        return self.measure_moments(Moments(fitted(real.pooled)), generated)

    def measure_moments(self, real: Moments, generated: FeatureSet) -> Mapping[str, float]:
        """The same, beside moments."""
        spread = float(np.trace(real.pooled.covariance))
        if spread == 0.0:
            raise ValueError("real images are all the same")
        distance = frechet_distance(real.pooled, fitted(generated.pooled))
        return {"fid": distance, "fid_relative": distance / spread}


@part("metric", "sfid")
class SpatialFID(Metric):
    """Frechet distance of features that keep places."""

    needs = ("spatial",)

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``sfid``."""
        assert real.spatial is not None
        return self._beside(fitted(real.spatial), generated)

    def measure_moments(self, real: Moments, generated: FeatureSet) -> Mapping[str, float] | None:
        """The same, beside moments, if they are known of such features."""
        return None if real.spatial is None else self._beside(real.spatial, generated)

    def _beside(self, real: Gaussian, generated: FeatureSet) -> dict[str, float]:
        assert generated.spatial is not None
        return {"sfid": frechet_distance(real, fitted(generated.spatial))}
