"""Pixels as features: their principal components, and a classifier on them."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from torch.nn import functional as F

from zoo.errors import DataError
from zoo.evaluate.base import Features, FeatureSet, Images
from zoo.registry import part

MOST_NUMBERS = 4096
AT_ONCE = 64
"""Pictures that are in memory as float64 at full size together."""


@part("features", "pca")
class PCAFeatures(Features):
    """Principal components of the pixels of the real images, and the verdicts of a support vector classifier.

    For small pictures: larger ones are averaged over squares of the smallest side that leaves 4,096 numbers or fewer.
    Components and verdicts are learnt from 10,000 real images at most.

    Options:
        components: how many; all, if there are fewer numbers.
    """

    def __init__(self, *, components: Annotated[int, Field(ge=1, le=4096)] = 32) -> None:
        self.components = components
        self._mean: Float[np.ndarray, " P"] | None = None

    def fit(self, real: Images) -> None:
        """Find the components, and train the classifier if there are classes."""
        from sklearn.svm import SVC  # half a second, that only evaluation should cost

        chosen = real.in_memory()
        self._shape = chosen.images.shape[1:]
        self._side = side_of_squares(*self._shape)
        pixels, labels = self._pixels(chosen.images), chosen.labels
        self._mean = pixels.mean(axis=0)
        _, _, directions = np.linalg.svd(pixels - self._mean, full_matrices=False)
        self._directions = directions[: self.components]
        several = labels is not None and len(np.unique(labels)) > 1
        self._classifier = SVC().fit(pixels, labels) if several else None

    def of(self, images: UInt8[np.ndarray, "n H W C"], labels: Int[np.ndarray, " n"] | None) -> FeatureSet:
        """Components as ``pooled``, and the classifier's ``verdicts``.

        Raises:
            DataError: ``fit`` was given images of another size.
        """
        assert self._mean is not None, "fit comes first"
        if images.shape[1:] != self._shape:
            sizes = " and ".join(" x ".join(map(str, each)) for each in (images.shape[1:], self._shape))
            raise DataError(f"features pca: the images and the real ones are {sizes}; compare images of one size")
        pixels = self._pixels(images)
        verdicts = None if self._classifier is None else self._classifier.predict(pixels)
        return FeatureSet((pixels - self._mean) @ self._directions.T, labels, verdicts=verdicts)

    def record(self) -> dict[str, Any]:
        """The side of the squares that pixels are averaged over (1: none), and how many numbers are left."""
        assert self._mean is not None, "fit comes first"
        return {"averaged_over": self._side, "numbers": len(self._mean)}

    def _pixels(self, images: UInt8[np.ndarray, "n H W C"]) -> Float[np.ndarray, "n P"]:
        """Means over squares, from 0 to 1, an image a row; squares at the lower and right edges may be cut."""
        if self._side == 1:
            return images.reshape(len(images), -1).astype(np.float64) / 255
        return np.concatenate(
            [self._means(images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)]
        )

    def _means(self, images: UInt8[np.ndarray, "n H W C"]) -> Float[np.ndarray, "n P"]:
        pixels = torch.tensor(images).movedim(-1, 1).double() / 255
        means = F.avg_pool2d(pixels, self._side, ceil_mode=True)
        return means.movedim(1, -1).flatten(1).numpy()


def side_of_squares(height: int, width: int, channels: int) -> int:
    """The smallest side of squares of which a picture has few enough that their means are 4,096 numbers at most."""
    side = 1
    while math.ceil(height / side) * math.ceil(width / side) * channels > MOST_NUMBERS:
        side += 1
    return side
