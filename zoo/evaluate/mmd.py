"""Maximum mean discrepancies of features, squared: KID (arXiv 1801.01401) and CMMD (arXiv 2401.09603)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from zoo.evaluate.base import FeatureSet, Metric
from zoo.evaluate.precision_recall import squared_distances
from zoo.registry import part

SORTED_BY = 8
"""Features by which images are put in order: enough that no two images share all of them, but copies."""


def polynomial_kernel(
    one: Float[np.ndarray, "n D"], other: Float[np.ndarray, "m D"], degree: int = 3
) -> Float[np.ndarray, "n m"]:
    """``(x . y / D + 1) ** degree``."""
    kernel = one @ other.T
    kernel /= one.shape[1]
    kernel += 1
    return np.power(kernel, degree, out=kernel)


def unbiased_mmd2(one: Float[np.ndarray, "n D"], other: Float[np.ndarray, "n D"]) -> float:
    """The unbiased estimate with KID's kernel, which leaves out each row beside itself and may be less than 0."""
    n = len(one)
    among = 0.0
    for rows in (one, other):
        kernel = polynomial_kernel(rows, rows)
        among += (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
    return float(among - 2 * polynomial_kernel(one, other).mean())


@part("metric", "kid")
class KID(Metric):
    """Kernel Inception Distance of pooled features.

    It is the mean of the unbiased squared MMD over subsets, with the kernel ``(x . y / D + 1) ** 3``. It is not
    multiplied by 1000, as many papers' tables have it. Around 0 it may be less than 0.

    Options:
        subset: images of either set in a subset; all those of the smaller set, where it has fewer.
        subsets: how many; they are drawn without replacement, and always the same ones.
    """

    def __init__(
        self, *, subset: Annotated[int, Field(ge=2)] = 1000, subsets: Annotated[int, Field(ge=1)] = 100
    ) -> None:
        self.subset, self.subsets = subset, subsets

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``kid``, and ``kid_std``, its standard deviation over subsets: 0 where there is but one choice.

        Raises:
            ValueError: a set has fewer than two images.
        """
        size = min(self.subset, len(real), len(generated))
        if size < 2:
            raise ValueError(f"an unbiased MMD needs two images or more, not {size}")
        subsets = 1 if size == len(real) == len(generated) else self.subsets
        draws = np.random.default_rng(0)
        orders = [_order(each.pooled) for each in (real, generated)]
        found = []
        for _ in range(subsets):
            rows = [order[draws.choice(len(order), size, replace=False)] for order in orders]
            one, other = real.pooled[rows[0]], generated.pooled[rows[1]]
            found.append(unbiased_mmd2(one.astype(np.float64), other.astype(np.float64)))
        return {"kid": float(np.mean(found)), "kid_std": float(np.std(found))}


def _order(features: Float[np.ndarray, "n D"]) -> Int[np.ndarray, " n"]:
    """Rows in an order that does not hang on that in which images are read or drawn."""
    return np.lexsort(features[:, :SORTED_BY].T)


@part("metric", "cmmd")
class CMMD(Metric):
    """MMD of L2-normalised pooled features with a Gaussian kernel; the papers' are of CLIP's image embeddings.

    As in the authors' code: ``exp(-|x - y|^2 / (2 * sigma^2))``, the biased estimate, that counts each row beside
    itself too, times 1000. A figure of other features than CLIP's (ViT-L/14 at 336 pixels) is no paper's CMMD.

    Options:
        sigma: width of the kernel (the paper: 10).
    """

    def __init__(self, *, sigma: Annotated[float, Field(gt=0)] = 10.0) -> None:
        self.sigma = sigma

    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """``cmmd``, at least 0.

        Raises:
            ValueError: a set has no image, or the features of an image are all 0.
        """
        if min(len(real), len(generated)) == 0:
            raise ValueError("an MMD needs an image or more of either set")
        one, other = _normalised(real.pooled), _normalised(generated.pooled)
        found = self._mean(one, one) + self._mean(other, other) - 2 * self._mean(one, other)
        return {"cmmd": 1000 * max(found, 0.0)}

    def _mean(self, one: Float[np.ndarray, "n D"], other: Float[np.ndarray, "m D"]) -> float:
        """The kernel's mean less 1, which keeps the digits that subtracting means next to 1 would lose."""
        total = 0.0
        for block in squared_distances(one, other):
            block /= -2 * self.sigma**2
            total += float(np.expm1(block, out=block).sum())
        return total / (len(one) * len(other))


def _normalised(features: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    wide = features.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    if not norms.all():
        raise ValueError("features of an image are all 0, and have no direction")
    wide /= norms
    return wide
