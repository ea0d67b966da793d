"""The SDE keeps the flow's distribution at every noise level, whatever the diffusion."""

from typing import get_args

import pytest
import torch

from zoo.flow.euler_maruyama import Diffusion, EulerMaruyamaSolver
from zoo.flow.solvers import EulerSolver
from zoo.paths import LinearPath
from zoo.testing.gaussian import GaussianFlow

LINE = LinearPath()
FLOW = GaussianFlow(mean=0.5, std=0.7)


def run(solver, steps, samples=20_000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    seen = []

    def normal(k=0):
        return torch.randn(samples, 1, 1, 1, generator=generator, dtype=torch.float64)

    def velocity(z, t):
        seen.append((t, float(z.mean()), float(z.std())))
        return FLOW.velocity(z, t)

    latents = solver.solve(velocity, normal(), steps, LINE, normal)
    return latents, seen


@pytest.mark.parametrize("last_step", ["mean", "euler", "tweedie"])
@pytest.mark.parametrize("diffusion", get_args(Diffusion))
def test_every_form_keeps_the_marginals(diffusion, last_step):
    latents, seen = run(EulerMaruyamaSolver(diffusion=diffusion, last_step=last_step, last_step_size=0.02), 200)
    for t, mean, std in [*seen[20:], (0.0, float(latents.mean()), float(latents.std()))]:
        expected = ((1 - t) ** 2 * FLOW.std**2 + t**2) ** 0.5
        assert mean == pytest.approx((1 - t) * FLOW.mean, abs=0.03), f"mean at {t}"
        assert std == pytest.approx(expected, abs=0.03), f"deviation at {t}"


def test_sbdm_starts_gently():
    """Its diffusion is infinite at t = 1; the first steps may spread the noise a little, and not blow it up."""
    _, seen = run(EulerMaruyamaSolver(diffusion="sbdm"), 50)
    assert max(std for _, _, std in seen) < 1.5


@pytest.mark.parametrize("diffusion", get_args(Diffusion))
def test_the_norm_scales(diffusion):
    one, two = (EulerMaruyamaSolver(diffusion=diffusion, norm=norm) for norm in (1.0, 2.0))
    if diffusion == "decreasing":
        assert two.rate(LINE.at(0.75), 0.75, 0.01) > one.rate(LINE.at(0.75), 0.75, 0.01)
    else:
        assert two.rate(LINE.at(0.3), 0.3, 0.01) == pytest.approx(2 * one.rate(LINE.at(0.3), 0.3, 0.01))


@pytest.mark.parametrize(
    ("diffusion", "rates"),
    [
        ("constant", [1.0, 1.0, 1.0]),
        ("sbdm", [1 / 3, 1.0, 3.0]),
        ("sigma", [0.25, 0.5, 0.75]),
        ("linear", [0.25, 0.5, 0.75]),
        ("decreasing", [(1 - 0.5**0.5) ** 2 / 4, 0.25, (1 + 0.5**0.5) ** 2 / 4]),
        ("increasing_decreasing", [0.5, 1.0, 0.5]),
    ],
)
def test_rates_by_hand(diffusion, rates):
    solver = EulerMaruyamaSolver(diffusion=diffusion)
    assert [solver.rate(LINE.at(t), t, 0.01) for t in (0.25, 0.5, 0.75)] == pytest.approx(rates)


def test_without_diffusion_it_is_euler():
    solver = EulerMaruyamaSolver(diffusion="constant", norm=0.0, last_step_size=0.1)
    noise = torch.randn(8, 1, 1, 1, dtype=torch.float64)
    latents = solver.solve(FLOW.velocity, noise, 10, LINE, lambda k: torch.randn_like(noise))
    assert torch.allclose(latents, EulerSolver().solve(FLOW.velocity, noise, 10, LINE, torch.zeros))


def test_steps_count_the_last_one():
    solver = EulerMaruyamaSolver()
    levels = solver.levels(25)
    assert len(levels) == 25
    assert levels[0] == 1.0
    assert levels[-1] == 0.04
    assert levels[1] == 0.96
    draws = []
    solver.solve(FLOW.velocity, torch.zeros(1, 1, 1, 1), 25, LINE, lambda k: draws.append(k) or torch.zeros(1, 1, 1, 1))
    assert draws == list(range(24))


def test_one_step_is_the_last():
    assert EulerMaruyamaSolver().levels(1) == (1.0,)
    noise = torch.randn(8, 1, 1, 1, dtype=torch.float64)
    latents = EulerMaruyamaSolver(last_step="tweedie").solve(FLOW.velocity, noise, 1, LINE, torch.zeros)
    assert torch.allclose(latents, torch.full_like(noise, FLOW.mean))  # pure noise says nothing of the data


def test_thresholds_are_hit_exactly():
    levels = EulerMaruyamaSolver(last_step_size=0.1).levels(10)
    assert levels == tuple((10 - k) / 10 for k in range(10))


def test_a_shift_leaves_both_ends():
    levels = EulerMaruyamaSolver(shift=3.0).levels(3)
    odds = [t / (1 - t) for t in levels[1:]]
    assert (levels[0], levels[-1]) == (1.0, 0.04)
    even = (1 + 1 / 73) / 2  # 1/73 shifted by 3 is 0.04
    assert odds[0] == pytest.approx(3 * even / (1 - even))


def test_a_shift_reaches_the_same_data():
    noise = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = torch.Generator().manual_seed(1)
    latents = EulerMaruyamaSolver(shift=3.0).solve(
        FLOW.velocity, noise, 100, LINE, lambda k: torch.randn(noise.shape, generator=drawn, dtype=noise.dtype)
    )
    assert float(latents.mean()) == pytest.approx(FLOW.mean, abs=0.02)
    assert float(latents.std()) == pytest.approx(FLOW.std, abs=0.02)
