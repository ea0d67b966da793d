"""The adaptive solver: its tolerance, the sides of thresholds, and what it says when it cannot go on."""

import math
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.errors import NumericError, ZooError
from zoo.flow.dopri5 import Dopri5Solver
from zoo.paths import LinearPath
from zoo.testing.gaussian import GaussianFlow

FLOW = GaussianFlow(mean=0.5, std=0.4)


def noise(dtype=torch.float64):
    return torch.randn(64, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def solve(solver, velocity, start, thresholds=()):
    return solver.solve(velocity, start, 1, LinearPath(), torch.zeros, thresholds)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
def test_meets_its_tolerance(tolerance):
    latents = solve(Dopri5Solver(rtol=tolerance, atol=tolerance), FLOW.velocity, noise())
    error = float((latents - FLOW.samples(noise())).abs().max())
    assert error < 20 * tolerance  # which one step may miss, in the root mean square


def test_single_precision_will_do():
    latents = solve(Dopri5Solver(), FLOW.velocity, noise(torch.float32))
    assert latents.dtype == torch.float32
    assert torch.allclose(latents, FLOW.samples(noise(torch.float32)), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evaluations_stay_on_their_side_of_each_threshold(dtype):
    thresholds, speeds, seen = [0.7, 0.3], [1.0, -2.0, 0.5], []
    ends = torch.tensor(thresholds, dtype=dtype)

    def velocity(z, t):
        level = torch.tensor(t, dtype=dtype)
        assert level not in ends, "on a threshold, the stage is not certain"
        seen.append(t)
        return torch.full_like(z, speeds[int((level < ends).sum())]) * (1 + z / 10)

    def exact(z):  # dz/dt = speed (1 + z / 10), solved for each stretch
        for speed, length in zip(speeds, (0.3, 0.4, 0.3), strict=True):
            z = 10 * ((1 + z / 10) * torch.exp(torch.tensor(-speed * length / 10, dtype=z.dtype)) - 1)
        return z

    latents = solve(Dopri5Solver(), velocity, noise(dtype), thresholds)
    assert torch.allclose(latents, exact(noise(dtype)), atol=1e-5)
    assert len(seen) < 60, "steps are refused for the jumps"
    assert (max(seen), min(seen)) == pytest.approx((1.0, 0.0))


class WithoutFloat64(TorchDispatchMode):
    """A device that refuses wide numbers, as Apple's GPUs do."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if any(isinstance(each, torch.Tensor) and each.dtype == torch.float64 for each in tree_leaves(made)):
            raise TypeError(f"{func} makes float64, which this device has not")
        return made


def test_a_device_without_wide_numbers_will_do(monkeypatch):
    monkeypatch.setattr("zoo.flow.precision.WITHOUT_FLOAT64", {"cpu"})
    start, thresholds = noise(torch.float32), [0.5]
    with WithoutFloat64():
        latents = solve(Dopri5Solver(), lambda z, t: -z, start, thresholds)
    assert torch.allclose(latents, math.e * start, atol=1e-4)


def test_levels_depend_on_the_data():
    assert Dopri5Solver().levels(10) is None


def test_a_velocity_that_is_not_finite_is_told():
    with pytest.raises(NumericError, match=r"dopri5 cannot go on between noise levels 1.0 and 0.5"):
        solve(Dopri5Solver(), lambda z, t: z * float("nan"), noise(), [0.5])


def test_without_torchdiffeq(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ZooError, match="needs torchdiffeq: `pip install torchdiffeq`"):
        solve(Dopri5Solver(), FLOW.velocity, noise())
