"""Pixels as features: their principal components, and a classifier on them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import Field

from zoo.errors import DataError
from zoo.evaluate.base import Features, FeatureSet, Images
from zoo.registry import part


@part("features", "pca")
class PCAFeatures(Features):
    """Principal components of the pixels of the real images, and the verdicts of a support vector classifier.

    For small pictures. Both are learnt from 10,000 real images at most.

    Options:
        components: how many; all, if the images have fewer pixels.
    """

    def __init__(self, *, components: Annotated[int, Field(ge=1, le=4096)] = 32) -> None:
        self.components = components
        self._mean: Float[np.ndarray, " P"] | None = None

    def fit(self, real: Images) -> None:
        """Find the components, and train the classifier if there are classes."""
        from sklearn.svm import SVC  # half a second, that only evaluation should cost

        chosen = real.in_memory()
        pixels, labels = _pixels(chosen.images), chosen.labels
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
        pixels = _pixels(images)
        if pixels.shape[1] != len(self._mean):
            sizes = f"{pixels.shape[1]} values, and the real ones {len(self._mean)}"
            raise DataError(f"features pca: the images have {sizes}; compare images of one size")
        verdicts = None if self._classifier is None else self._classifier.predict(pixels)
        return FeatureSet((pixels - self._mean) @ self._directions.T, labels, verdicts=verdicts)


def _pixels(images: UInt8[np.ndarray, "n H W C"]) -> Float[np.ndarray, "n P"]:
    """Values from 0 to 1, an image a row."""
    return images.reshape(len(images), -1).astype(np.float64) / 255
