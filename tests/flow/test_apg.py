"""Adaptive projected guidance, against its algorithm on the data."""

import pytest
import torch

from tests.flow.test_guided_velocity import run
from zoo.errors import ZooError
from zoo.flow.apg import AdaptiveProjectedGuidance
from zoo.flow.dopri5 import Dopri5Solver
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.solvers import HeunSolver
from zoo.paths import EDMPath, LinearPath, TrigonometricPath, VariancePreservingPath
from zoo.registry import Registry
from zoo.testing import check_part

LATENT = (3, 4, 8)
LEVELS = (1.0, 0.7, 0.4, 0.1)
PATHS = [LinearPath(), TrigonometricPath(), VariancePreservingPath(), EDMPath()]


def drawn(levels=LEVELS):
    shape = (len(levels), 3, 4, *LATENT)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def apg(**given):
    return AdaptiveProjectedGuidance(1, LATENT, **{"scale": 4.0, **given})


def along(guidance, path, levels=LEVELS):
    """The velocities at some levels, in that order."""
    return [guidance.join(0, t, *each, path) for t, each in zip(levels, drawn(levels), strict=True)]


def by_the_algorithm(path, *, scale=4.0, eta=0.0, norm_threshold=None, momentum=0.0):
    """Algorithm 1 of the paper on the data, a sample at a time, and the velocities of what it gives."""
    found = []
    before = [0.0] * 4
    for t, (first, second, z) in zip(LEVELS, drawn(), strict=True):
        at = path.at(t)
        data = []
        for place in range(4):
            c, u = (at.data(each[place], z[place]).flatten() for each in (first, second))
            towards = before[place] = c - u + momentum * before[place]
            if norm_threshold is not None:
                towards = towards * min(1.0, norm_threshold / float(towards.norm()))
            parallel = (towards @ c) / (c @ c) * c
            data.append((c + (scale - 1) * (towards - parallel + eta * parallel)).view(LATENT))
        found.append(at.velocity_from("data", torch.stack(data), z))
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
@pytest.mark.parametrize(
    "given",
    [
        {"eta": 0.0, "momentum": 0.0},
        {"eta": 0.3, "momentum": 0.0},
        {"momentum": -0.5},
        {"momentum": 0.0, "norm_threshold": 5.0},
        {"eta": 0.3, "momentum": -0.75, "norm_threshold": 5.0},
    ],
    ids=str,
)
def test_it_is_the_algorithm_of_the_paper(path, given):
    for got, expected in zip(along(apg(**given), path), by_the_algorithm(path, **given), strict=True):
        assert torch.allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_no_difference_is_longer_than_its_threshold():
    """On the straight line the data change by t times as much as the velocity."""
    guided = along(apg(eta=1.0, momentum=0.0, norm_threshold=2.0), LinearPath())
    for t, got, (first, second, _) in zip(LEVELS, guided, drawn(), strict=True):
        added, before = (t * each.flatten(1).norm(dim=1) for each in (got - first, first - second))
        assert torch.allclose(added, 3.0 * before.clamp(max=2.0))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_by_eta_of_one_alone_it_is_classifier_free_guidance(path):
    plain = ClassifierFreeGuidance(1, LATENT, scale=4.0)
    levels = (*LEVELS, 0.0)
    guided = along(apg(eta=1.0, momentum=0.0), path, levels)
    for got, expected in zip(guided, along(plain, path, levels), strict=True):
        assert torch.allclose(got, expected)


def test_where_no_noise_is_left_nothing_is_remembered():
    levels = (0.5, 0.0)
    (_, last), (alone,) = along(apg(), LinearPath(), levels), along(apg(momentum=0.0), LinearPath(), levels)[1:]
    assert torch.equal(last, alone)


def test_each_batch_has_a_memory_of_its_own(small, inputs):
    backbone, guidance = small(), AdaptiveProjectedGuidance(2, LATENT, scale=4.0, momentum=-0.9)
    first, second = (run(backbone, inputs(), HeunSolver(), guidance=guidance) for _ in range(2))
    assert torch.equal(first, second)
    without = AdaptiveProjectedGuidance(2, LATENT, scale=4.0, momentum=0.0)
    assert not torch.allclose(run(backbone, inputs(), HeunSolver(), guidance=without), first, atol=1e-3)


def test_a_solver_that_takes_steps_back_remembers_nothing(small, inputs):
    guidance = AdaptiveProjectedGuidance(2, LATENT, scale=1.5)
    with pytest.raises(ZooError, match=r"sample.guidance: keeps what it has seen, .* choose another solver"):
        run(small(), inputs(), Dopri5Solver(), guidance=guidance)
    without = AdaptiveProjectedGuidance(2, LATENT, scale=1.5, momentum=0.0)
    assert run(small(), inputs(), Dopri5Solver(rtol=1e-2, atol=1e-2), guidance=without).isfinite().all()


def test_it_keeps_the_laws_with_a_threshold_too():
    check_part(Registry().get("guidance", "apg"), options={"scale": 3.0, "norm_threshold": 1.0})
