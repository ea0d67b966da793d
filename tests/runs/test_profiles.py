"""Averages by EDM2's profiles: what they weigh, beside integrals; and what is made of some, beside what is tracked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from zoo.recipe.averages import MOST
from zoo.runs.optimizer import EMA
from zoo.runs.profiles import combination, decay, exponent, inner

STEPS, EVERY, KEPT = 600, 50, (0.05, 0.1)


def profile(std: float, step: float) -> Callable[[float], float]:
    power = exponent(std)
    return lambda x: (power + 1) * x**power / step ** (power + 1) if x <= step else 0.0


@pytest.mark.parametrize(("std", "power"), [(0.05, 16.97), (0.1, 6.94), (12**-0.5, 0.0)])
def test_exponents_are_the_paper_s(std: float, power: float) -> None:
    assert exponent(std) == pytest.approx(power, abs=5e-3)


@pytest.mark.parametrize("std", [0.005, 0.05, 0.1, 0.2, MOST])
def test_std_is_the_standard_deviation_of_the_profile(std: float) -> None:
    mass, mean, square = (quad(lambda x, k=k: x**k * profile(std, 1.0)(x), 0, 1, epsabs=1e-12)[0] for k in range(3))
    assert mass == pytest.approx(1.0)
    assert np.sqrt(square - mean**2) == pytest.approx(std, rel=1e-6)


def test_decays_weigh_each_step_by_the_profile_s_integral() -> None:
    std, steps = 0.1, 40
    weights = np.zeros(steps)
    for step in range(1, steps + 1):
        weights *= decay(std, step)
        weights[step - 1] += 1 - decay(std, step)
    integrals = [quad(profile(std, steps), step - 1, step)[0] for step in range(1, steps + 1)]
    assert weights == pytest.approx(integrals, abs=1e-12)


@pytest.mark.parametrize(("one", "other"), [((0.05, 10), (0.1, 10)), ((0.05, 7), (0.2, 10)), ((0.05, 10), (0.2, 7))])
def test_inner_products_are_integrals(one: tuple[float, int], other: tuple[float, int]) -> None:
    wanted, _ = quad(lambda x: profile(*one)(x) * profile(*other)(x), 0, min(one[1], other[1]))
    (std, at), (other_std, other_at) = one, other
    found = inner(*map(np.array, (exponent(std), float(at), exponent(other_std), float(other_at))))
    assert float(found) == pytest.approx(wanted, rel=1e-9)


def walk() -> torch.Tensor:
    """Weights [STEPS, 30] that drift and stray, far from zero."""
    generator = torch.Generator().manual_seed(0)
    moves = torch.randn(STEPS, 30, generator=generator, dtype=torch.float64) + 0.05
    return 100.0 + moves.cumsum(0)


def tracked(weights: torch.Tensor, decays: Callable[[int], float]) -> torch.Tensor:
    """The average after each step, as training keeps it [STEPS, 30]."""
    ema, found = EMA({"w": weights[0]}), []
    for step, each in enumerate(weights, start=1):
        ema.update({"w": each}, decays(step))
        found.append(ema.averages["w"].clone())
    return torch.stack(found)


def miss(std: float, at: int, kept: Callable[[float, int], float]) -> float:
    """How far what is made is from what is tracked, beside how far that is from the last weights."""
    weights = walk()
    steps = range(EVERY, at + 1, EVERY)
    factors, _ = combination([(each, step) for each in KEPT for step in steps], std, at)
    snapshots = torch.cat(
        [tracked(weights, lambda step, e=each: kept(e, step))[EVERY - 1 : at : EVERY] for each in KEPT]
    )
    wanted = tracked(weights, lambda step: decay(std, step))[at - 1]
    made = torch.from_numpy(factors) @ snapshots
    return float((made - wanted).norm() / (weights[at - 1] - wanted).norm())


@pytest.mark.parametrize(("std", "at"), [(0.05, 600), (0.06, 600), (0.075, 600), (0.12, 600), (0.15, 600), (0.08, 400)])
def test_what_is_made_is_what_would_have_been_tracked(std: float, at: int) -> None:
    assert miss(std, at, decay) <= (1e-9 if std in KEPT else 3e-3)


@pytest.mark.parametrize(
    "broken",
    [
        lambda std, step: 0.99,  # plain averages, which have other profiles
        lambda std, step: (1 - 1 / step) ** exponent(std),
        lambda std, step: decay(1.2 * std, step),
    ],
)
def test_the_comparison_catches_averages_of_other_profiles(broken: Callable[[float, int], float]) -> None:
    assert miss(0.075, 600, broken) > 3e-3


def test_factors_add_up_to_one_and_how_far_they_come_is_told() -> None:
    kept = [(std, step) for std in KEPT for step in (500, 1000)]
    for std in (0.01, 0.04, 0.07, 0.2):
        factors, distance = combination(kept, std, 1000)
        assert factors.sum() == pytest.approx(1.0, abs=1e-9)

        def left(x: float, std: float = std, factors: np.ndarray = factors) -> float:
            made = sum(factor * profile(*each)(x) for factor, each in zip(factors, kept, strict=True))
            return float((made - profile(std, 1000)(x)) ** 2)

        norm, _ = quad(lambda x, std=std: profile(std, 1000)(x) ** 2, 0, 1000, points=[900])
        rest, _ = quad(left, 0, 1000, points=[500, 900], limit=200)
        assert distance == pytest.approx(np.sqrt(rest / norm), rel=1e-4)
