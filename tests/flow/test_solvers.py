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


class StepsOfOneLength(EulerSolver):
    """Shifts where it evaluates, and not how far it goes from there."""

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        z = noise
        for t in self.levels(steps):
            z = z - velocity(z, t) / steps
        return z


def order(solver):
    steps = np.array([128, 256, 512, 1024])
    errors = [error(solver, count, LINE) for count in steps.tolist()]
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
@pytest.mark.parametrize(("kind", "expected"), [(EulerSolver, 1), (HeunSolver, 2), (DDIMSolver, 1)])
def test_order(kind, expected, shift):
    assert order(kind(shift=shift)) == pytest.approx(expected, abs=0.15)


def test_the_order_tells_steps_that_are_not_shifted():
    assert order(StepsOfOneLength()) == pytest.approx(1, abs=0.15)
    assert order(StepsOfOneLength(shift=3.0)) < 0.15


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


@pytest.mark.parametrize("shift", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("path", [LINE, TrigonometricPath()], ids=lambda path: type(path).__name__)
def test_dpmpp_2m_is_of_second_order(path, shift):
    """Up to a logarithm: log(alpha / sigma) has large steps at the ends, however many there are."""
    solver = DPMPP2MSolver(shift=shift)
    assert error(solver, 512, path) / error(solver, 1024, path) > 3


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


@pytest.mark.parametrize("solver", [EulerSolver(), DPMPP2MSolver()], ids=lambda each: type(each).__name__)
def test_a_shift_of_one_leaves_the_levels_as_they_were(solver):
    for steps in (1, 7, 50, 250):
        assert solver.levels(steps) == tuple((steps - k) / steps for k in range(steps))


def test_shifted_levels_by_hand():
    """Odds of 3, 1 and 1/3 become those of 9, 3 and 1; and back by the inverse."""
    assert EulerSolver(shift=3.0).levels(4) == (1.0, 0.9, 0.75, 0.5)
    assert EulerSolver(shift=0.1).levels(2) == (1.0, 1 / 11)
    assert HeunSolver(shift=3.0).levels(2) == (1.0, 0.75, 0.75, 0.0)


@pytest.mark.parametrize("shift", [0.01, 100.0])
def test_no_two_levels_become_one_by_a_shift(shift):
    levels = np.array(EulerSolver(shift=shift).levels(1000), dtype=np.float32)
    assert len(set(levels.tolist())) == 1000


@pytest.mark.parametrize("solver", [EulerSolver(), HeunSolver()])
@pytest.mark.parametrize("threshold", [0.3, 0.1, 0.7])
def test_thresholds_are_hit_exactly(solver, threshold):
    for steps in (10, 20, 50, 100, 250):
        assert threshold in solver.levels(steps)
