"""What Frechet distances and accuracies alone cannot tell: whether images are of their classes, varied, and new."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from zoo.evaluate.base import FeatureSet, Metric
from zoo.evaluate.precision_recall import squared_distances, squared_radii
from zoo.registry import part


def variance_within(features: Float[np.ndarray, "n D"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean over classes of the total variance of their features; classes of fewer than two images do not count."""
    found = [features[labels == label].astype(np.float64) for label in np.unique(labels)]
    variances = [each.var(axis=0, ddof=1).sum() for each in found if len(each) > 1]
    return float(np.mean(variances)) if variances else float("nan")


@part("metric", "accuracy")
class Accuracy(Metric):
    """The share of generated images in which an independent classifier sees the class that was asked for."""

    needs = ("labels", "verdicts")
    more_is_better = ("accuracy",)

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``accuracy``, from 0 to 1."""
        assert generated.labels is not None
        return {"accuracy": float((generated.labels == generated.verdicts).mean())}


@part("metric", "diversity")
class Diversity(Metric):
    """Variance within classes, over that of the real images: 1 is as varied as they are, 0 is one image a class."""

    needs = ("pooled", "labels")
    more_is_better = ("diversity",)

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``diversity``."""
        assert real.labels is not None
        assert generated.labels is not None
        within = variance_within(generated.pooled, generated.labels)
        return {"diversity": within / variance_within(real.pooled, real.labels)}


@part("metric", "novelty")
class Novelty(Metric):
    """How far generated images are from the nearest real one, over how far real ones are from their nearest other.

    1 is as new as another real image; 0 is a copy.
    """

    more_is_better = ("novelty",)

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``novelty``: a ratio of medians of distances."""
        nearest = [block.min(axis=1) for block in squared_distances(generated.pooled, real.pooled)]
        among = squared_radii(real.pooled, 1)
        return {"novelty": float(np.sqrt(np.median(np.concatenate(nearest)) / np.median(among)))}
