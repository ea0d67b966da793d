"""What Frechet distances and accuracies alone cannot tell: whether images are of their classes, varied, and new."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from zoo.evaluate.base import FeatureSet, Metric
from zoo.evaluate.precision_recall import squared_distances, squared_radii
from zoo.registry import part


def variances_within(features: Float[np.ndarray, "n D"], labels: Int[np.ndarray, " n"]) -> dict[int, float]:
    """The total variance of the features of each class of two images or more, by class."""
    found = {int(label): features[labels == label].astype(np.float64) for label in np.unique(labels)}
    return {label: float(each.var(axis=0, ddof=1).sum()) for label, each in found.items() if len(each) > 1}


@part("metric", "accuracy")
class Accuracy(Metric):
    """The share of generated images in which an independent classifier sees the class that was asked for."""

    needs = ("labels", "verdicts")
    more_is_better = ("accuracy",)

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``accuracy``, from 0 to 1.

        Raises:
            ValueError: there are no images.
        """
        assert generated.labels is not None
        if len(generated) == 0:
            raise ValueError("an accuracy needs an image or more")
        return {"accuracy": float((generated.labels == generated.verdicts).mean())}


@part("metric", "diversity")
class Diversity(Metric):
    """Variance within classes, over that of the real images: 1 is as varied as they are, 0 is one image a class."""

    needs = ("pooled", "labels")
    more_is_better = ("diversity",)

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``diversity``: a ratio of means over the classes of which both sets have two images or more.

        Raises:
            ValueError: there is no such class.
        """
        assert real.labels is not None
        assert generated.labels is not None
        wanted = variances_within(real.pooled, real.labels)
        found = variances_within(generated.pooled, generated.labels)
        classes = sorted(wanted.keys() & found.keys())
        if not classes:
            raise ValueError("a variance within classes needs two images or more of a class")
        whole = sum(wanted[each] for each in classes)
        if whole == 0.0:
            raise ValueError("real images of a class are all the same")
        return {"diversity": sum(found[each] for each in classes) / whole}


@part("metric", "novelty")
class Novelty(Metric):
    """How far generated images are from the nearest real one, over how far real ones are from their nearest other.

    1 is as new as another real image; 0 is a copy.
    """

    more_is_better = ("novelty",)

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``novelty``: a ratio of medians of distances.

        Raises:
            ValueError: there are fewer than two real images, or half of them are copies of others.
        """
        if len(real) < 2:
            raise ValueError("distances among real images need two of them")
        nearest = [block.min(axis=1) for block in squared_distances(generated.pooled, real.pooled)]
        among = float(np.median(squared_radii(real.pooled, 1)))
        if among == 0.0:
            raise ValueError("half of the real images are copies of others")
        return {"novelty": float(np.sqrt(np.median(np.concatenate(nearest)) / among))}
