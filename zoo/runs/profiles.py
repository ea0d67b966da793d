"""Power-function averages of weights (Karras et al. 2024, arXiv 2312.02696): what they are, and how some make others.

At step ``t`` such an average weighs what the weights were at ``x`` by the profile ``(g + 1) x^g / t^(g + 1)`` on [0, t]
(section 3.1). Its standard deviation, over ``t``, is what a recipe gives as ``std``, and ``g`` follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Float


@cache  # since every update asks for those of its averages
def exponent(std: float) -> float:
    """The ``g`` of which ``std = (g + 1)^(1/2) (g + 2)^(-1) (g + 3)^(-1/2)``: the largest root of a cubic (there)."""
    square = std**-2
    return float(np.roots([1.0, 7.0, 16.0 - square, 12.0 - square]).real.max())


def decay(std: float, step: int) -> float:
    """What the average of the steps before keeps at ``step``, counted from 1, where it keeps nothing.

    All decays together make the weight of step ``i`` the integral of the profile over [i - 1, i], exactly.
    """
    return float((1.0 - 1.0 / step) ** (exponent(std) + 1.0))


def combination(kept: Sequence[tuple[float, int]], std: float, step: int) -> tuple[Float[np.ndarray, " n"], float]:
    """By what to multiply averages that were kept, so that their sum is nearest to another one (appendix C).

    It is the least squares of the profiles' difference. The factors add up to 1, to which they come by themselves in
    the paper where averages were kept often: what no step has moved stays as it is.

    Args:
        kept: ``std`` and step of each; a pair of both stands there once.
        std: of the average to make.
        step: at which.

    Returns:
        The factors; and how far their sum is from its profile, as a share of that: norms over [0, step].
    """
    exponents = np.array([exponent(each) for each, _ in kept])
    steps = np.array([each for _, each in kept], dtype=np.float64)
    goal = np.array(exponent(std)), np.array(float(step))
    among = step * inner(exponents[:, None], steps[:, None], exponents, steps)
    with_goal = step * inner(exponents, steps, *goal)
    count = len(kept)
    system = np.ones((count + 1, count + 1))  # the last row and column are of the sum of the factors
    system[:count, :count], system[count, count] = among, 0.0
    factors = np.linalg.lstsq(system, np.append(with_goal, 1.0), rcond=None)[0][:count]
    norm = step * inner(*goal, *goal)
    left = norm - 2.0 * factors @ with_goal + factors @ among @ factors
    return factors, float(np.sqrt(max(0.0, left) / norm))


def inner(
    one: Float[np.ndarray, "*n"],
    at: Float[np.ndarray, "*n"],
    other: Float[np.ndarray, "*n"],
    other_at: Float[np.ndarray, "*n"],
) -> Float[np.ndarray, "*n"]:
    """The integral of the product of two profiles, by their exponents and steps (appendix C); the shapes broadcast."""
    earlier, later = np.minimum(at, other_at), np.maximum(at, other_at)
    of_later = np.where(at < other_at, other, one)
    return np.asarray((one + 1.0) * (other + 1.0) / (one + other + 1.0) * (earlier / later) ** of_later / later)
