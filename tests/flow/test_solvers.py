"""Order of the solvers of fixed noise levels, on normally distributed data; the laws are in tests/testing."""

import numpy as np
import pytest
import torch

from zoo.flow.diffusion_solvers import DDIMSolver, DPMPP2MSolver
from zoo.flow.dopri5 import Dopri5Solver
from zoo.flow.euler_maruyama import EulerMaruyamaSolver
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.paths import LinearPath, TrigonometricPath, VariancePreservingPath
from zoo.testing.gaussian import GaussianFlow

LINE = LinearPath()
FLOW = GaussianFlow(mean=0.5, std=0.4)
NOISE = torch.randn(64, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def no_noise(k):
    raise AssertionError("an ODE solver draws no noise")


@pytest.mark.parametrize(("solver", "order"), [(EulerSolver(), 1), (HeunSolver(), 2), (DDIMSolver(), 1)])
def test_order(solver, order):
    steps = np.array([16, 32, 64, 128])
    errors = [
        float((solver.solve(FLOW.velocity, NOISE, count, LINE, no_noise) - FLOW.samples(NOISE)).abs().max())
        for count in steps.tolist()
    ]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(-order, abs=0.15)


@pytest.mark.parametrize(
    "solver", [EulerSolver(), HeunSolver(), EulerMaruyamaSolver(), Dopri5Solver()], ids=lambda each: type(each).__name__
)
def test_the_number_of_axes_changes_no_number(solver):
    plane = torch.randn(6, 2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    more = torch.randn(4, *plane.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = solver.solve(FLOW.velocity, plane, 4, LINE, lambda k: more[k])
    for size in ((24,), (2, 2, 6)):
        found = solver.solve(
            FLOW.velocity, plane.view(6, 2, *size), 4, LINE, lambda k, size=size: more[k].view(6, 2, *size)
        )
        assert torch.equal(found, expected.view(6, 2, *size))


def error(solver, steps, path):
    flow = GaussianFlow(mean=0.5, std=0.4, path=path)
    return float((solver.solve(flow.velocity, NOISE, steps, path, no_noise) - flow.samples(NOISE)).abs().max())


@pytest.mark.parametrize("path", [TrigonometricPath(), VariancePreservingPath()], ids=lambda path: type(path).__name__)
def test_ddim_is_of_first_order_on_every_path(path):
    assert error(DDIMSolver(), 64, path) / error(DDIMSolver(), 128, path) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("path", [LINE, TrigonometricPath()], ids=lambda path: type(path).__name__)
def test_dpmpp_2m_is_of_second_order(path):
    """Up to a logarithm: log(alpha / sigma) has large steps at the ends, however many there are."""
    assert error(DPMPP2MSolver(), 256, path) / error(DPMPP2MSolver(), 512, path) > 3.2


@pytest.mark.parametrize(
    "path", [LINE, TrigonometricPath(), VariancePreservingPath()], ids=lambda path: type(path).__name__
)
def test_dpmpp_2m_is_nearer_than_ddim(path):
    assert error(DPMPP2MSolver(), 32, path) < error(DDIMSolver(), 32, path) / 4


def test_data_are_not_extended_over_a_threshold():
    jump = lambda z, t: torch.full_like(z, 1.0 if t > 0.5 else -1.0)  # noqa: E731
    found = DPMPP2MSolver().solve(jump, NOISE, 10, LINE, no_noise, [0.5])
    assert torch.allclose(found, DDIMSolver().solve(jump, NOISE, 10, LINE, no_noise), atol=0.2)
    assert not torch.allclose(found, DPMPP2MSolver().solve(jump, NOISE, 10, LINE, no_noise), atol=0.01)


def test_levels_of_euler():
    assert EulerSolver().levels(4) == (1.0, 0.75, 0.5, 0.25)
    assert EulerSolver().levels(1) == (1.0,)


def test_levels_of_heun():
    assert HeunSolver().levels(2) == (1.0, 0.5, 0.5, 0.0)
    assert len(HeunSolver().levels(10)) == 20


@pytest.mark.parametrize("solver", [EulerSolver(), HeunSolver()])
@pytest.mark.parametrize("threshold", [0.3, 0.1, 0.7])
def test_thresholds_are_hit_exactly(solver, threshold):
    for steps in (10, 20, 50, 100, 250):
        assert threshold in solver.levels(steps)
