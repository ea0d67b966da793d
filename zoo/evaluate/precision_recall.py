"""Improved precision and recall (arXiv 1904.06991), as in ADM's evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from zoo.evaluate.base import FeatureSet, Metric
from zoo.registry import part

ROWS = 2048
"""Images whose distances to all others are in memory at once."""


def squared_distances(
    features: Float[np.ndarray, "n D"], others: Float[np.ndarray, "m D"]
) -> Iterator[Float[np.ndarray, "rows m"]]:
    """Squared distances of every image to every other, some rows at a time."""
    others = others.astype(np.float64)
    norms = np.square(others).sum(axis=1)
    for first in range(0, len(features), ROWS):
        rows = features[first : first + ROWS].astype(np.float64)
        products = rows @ others.T
        yield (np.square(rows).sum(axis=1)[:, None] - 2 * products + norms).clip(min=0)


def squared_radii(features: Float[np.ndarray, "n D"], neighbours: int) -> Float[np.ndarray, " n"]:
    """The squared distance of each image to its k-th nearest other one."""
    found = [np.partition(block, neighbours, axis=1)[:, neighbours] for block in squared_distances(features, features)]
    return np.concatenate(found)


def covered(
    features: Float[np.ndarray, "n D"], others: Float[np.ndarray, "m D"], radii: Float[np.ndarray, " m"]
) -> Bool[np.ndarray, " n"]:
    """Whether each image lies in the ball around one of the others."""
    return np.concatenate([(block <= radii).any(axis=1) for block in squared_distances(features, others)])


@part("metric", "precision_recall")
class PrecisionRecall(Metric):
    """Shares of generated images among the real ones, and of real ones among the generated.

    Options:
        neighbours: k, the nearest neighbour that the ball around each image reaches to.
    """

    def __init__(self, *, neighbours: Annotated[int, Field(ge=1)] = 3) -> None:
        self.neighbours = neighbours

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``precision`` and ``recall``, from 0 to 1.

        Raises:
            ValueError: fewer images than neighbours and one.
        """
        fewest = min(len(real), len(generated))
        if fewest <= self.neighbours:
            raise ValueError(f"{self.neighbours} neighbours need more than {self.neighbours} images, not {fewest}")
        one, other = real.pooled, generated.pooled
        return {
            "precision": float(covered(other, one, squared_radii(one, self.neighbours)).mean()),
            "recall": float(covered(one, other, squared_radii(other, self.neighbours)).mean()),
        }
