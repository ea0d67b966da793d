"""Verdicts on classes for features that bring no classifier of these classes, such as Inception's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from zoo.evaluate.base import FeatureSet


class LinearClassifier:
    """Linear discriminants of features, learnt from the real images.

    Covariances are shrunk as Ledoit and Wolf do, since classes may have fewer images than there are features.

    Args:
        features: of the real images.
        labels: their classes, of which there are several.
    """

    def __init__(self, features: Float[np.ndarray, "n D"], labels: Int[np.ndarray, " n"]) -> None:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # half a second, that only this costs

        self._classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, labels)

    def with_verdicts(self, features: FeatureSet) -> FeatureSet:
        """The same, with verdicts."""
        return replace(features, verdicts=self._classifier.predict(features.pooled))
