"""Inception Score: how sure a classifier is of each image, and how varied the classes are (arXiv 1606.03498)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import Field

from zoo.evaluate.base import FeatureSet, Metric
from zoo.registry import part


def inception_score(probabilities: Float[np.ndarray, "n K"], split: int) -> float:
    """``exp(E KL(p(y|x) | p(y)))`` of each run of ``split`` images, and the mean over runs."""
    scores = []
    for first in range(0, len(probabilities), split):
        each = probabilities[first : first + split].astype(np.float64)
        marginal = each.mean(axis=0)
        ratios = np.log(np.where(each > 0, each, 1.0)) - np.log(np.where(marginal > 0, marginal, 1.0))
        scores.append(np.exp((each * ratios).sum(axis=1).mean()))
    return float(np.mean(scores))


@part("metric", "inception_score")
class InceptionScore(Metric):
    """Inception Score of the generated images.

    Options:
        split: images of each run whose scores are averaged (ADM's evaluator: 5000).
    """

    needs = ("probabilities",)
    more_is_better = ("inception_score",)

    def __init__(self, *, split: Annotated[int, Field(ge=1)] = 5000) -> None:
        self.split = split

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``inception_score``, from 1 to the number of classes.

        Raises:
            ValueError: there are no images.
        """
        assert generated.probabilities is not None
        if len(generated) == 0:
            raise ValueError("an Inception Score needs an image or more")
        return {"inception_score": inception_score(generated.probabilities, self.split)}
