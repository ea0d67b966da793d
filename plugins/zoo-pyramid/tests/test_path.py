"""The path against its formulas written another way, and drawing with a network that knows the data."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import zoo
from zoo.errors import RecipeError, ZooError
from zoo.flow import EulerMaruyamaSolver, EulerSolver, HeunSolver, sample
from zoo_pyramid.path import PyramidPath
from zoo_pyramid.schedule import Pyramid

REGISTRY = zoo.Registry().with_parts([Pyramid, PyramidPath])
LEVELS = st.floats(0.02, 0.98)


def path_of(*cuts: float, growth: tuple[int, ...] = (2, 2), **options) -> PyramidPath:
    """Of stages between these noise levels, each of which grows by as much."""
    stages = len(cuts) + 1
    scales = tuple(tuple(each ** (stages - 1 - stage) for each in growth) for stage in range(stages))
    return PyramidPath(tuple(zip((*cuts, 0.0), (1.0, *cuts), strict=True)), scales, **options)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def factors(path: PyramidPath, growth: tuple[int, ...] = (2, 2)) -> tuple[float, float, float]:
    """a, b and s of the jump to stage 1, as the path makes them: of a state of ones, of zeros, and at its start."""
    none, many = torch.zeros(1, 1, *growth).double(), normal(50, 20, *growth)
    a = path.jump(1, torch.ones(1, 1, *[1] * len(growth)).double(), none)
    b = path.jump(1, torch.zeros(50, 20, *[1] * len(growth)).double(), many)
    left = many - many.flatten(2).mean(2).view(50, 20, *[1] * len(growth))
    count = many[0, 0].numel()
    _, noisy = path.ends(1, none, torch.ones_like(none))
    return (
        float(a.mean()),
        float((b * left).sum() / left.square().sum()) * sqrt((count - 1) / count),
        float(noisy.mean()),
    )


@given(e=LEVELS, growth=st.sampled_from([(2,), (2, 2), (2, 1), (3, 2), (2, 2, 2)]))
def test_the_jump_keeps_three_identities(e, growth):
    a, b, s = factors(path_of(e, growth=growth), growth)
    g = 1 / (np.prod(growth) - 1)  # what noise of unit variance covaries by, where it adds up to zero
    assert a * (1 - e) == pytest.approx(1 - s)
    assert a**2 * e**2 + b**2 == pytest.approx(s**2)
    assert a**2 * e**2 == pytest.approx(b**2 * g)


@given(e=LEVELS)
def test_in_a_plane_the_factors_are_pyramidal_flows(e):
    s = 2 * e / (1 + e)
    assert factors(path_of(e)) == pytest.approx((1 - s / 2, s * sqrt(3) / 2, s))


def covariance(states: torch.Tensor) -> np.ndarray:
    """Of the four pixels of a block [b, 1, 2, 2]."""
    return np.cov(states.flatten(1).numpy().T)


def test_renoising_makes_white_noise_of_the_level_that_the_stage_starts_with():
    """Beside noise drawn block by block from the degenerate normal distribution, as the paper says it."""
    e, count = 0.5, 200_000
    s, generator = 2 * e / (1 + e), np.random.default_rng(0)
    data, noise, fresh = torch.zeros(count, 1, 2, 2).double(), normal(count, 1, 2, 2), normal(count, 1, 2, 2, seed=1)
    path, bare = path_of(e), path_of(e, renoising="none")
    end, _ = path.ends(0, data, noise)
    jumped = covariance(path.jump(1, end, fresh))
    correlated = np.full((4, 4), -1 / 3) + np.eye(4) * 4 / 3
    drawn = generator.multivariate_normal(np.zeros(4), correlated, size=count, method="eigh")
    reference = (1 - s / 2) * end.numpy().reshape(count, 1) + sqrt(3) / 2 * s * drawn
    assert np.cov(reference.T) == pytest.approx(jumped, abs=6e-3)
    assert jumped == pytest.approx(s**2 * np.eye(4), abs=6e-3)
    assert jumped == pytest.approx(covariance(path.ends(1, data, noise)[1]), abs=6e-3)
    alone = covariance(path.jump(1, torch.zeros_like(end), fresh))
    assert alone == pytest.approx(3 / 4 * s**2 * correlated, abs=6e-3)
    assert covariance(bare.jump(1, end, fresh)) == pytest.approx(
        np.full((4, 4), e**2), abs=6e-3
    )  # what it is there for


def test_without_renoising_the_state_is_enlarged_and_no_more():
    z = normal(2, 3, 2, 2)
    found = path_of(0.5, renoising="none").jump(1, z, normal(2, 3, 4, 4))
    assert torch.equal(found, F.interpolate(z, scale_factor=2, mode="nearest"))


def test_training_is_the_same_without_renoising():
    one, other = path_of(0.5), path_of(0.5, renoising="none")
    data, noise, t = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1), torch.linspace(0, 1, 101)
    for stage in (0, 1):
        assert all(map(torch.equal, one.ends(stage, data, noise), other.ends(stage, data, noise)))
    assert torch.equal(one.clock(t), other.clock(t))
    assert one.range(1) == other.range(1)


def test_sizes_share_one_noise_and_are_halved_bilinearly():
    path, data, noise = path_of(2 / 3, 1 / 3), normal(2, 3, 8, 8), normal(2, 3, 8, 8, seed=1)
    own_noise, own_data = noise, data
    for stage in (2, 1, 0):
        clean, _ = path.ends(stage, data, noise)
        e = stage_end = (2 - stage) / 3
        torch.testing.assert_close(clean, e * own_noise + (1 - stage_end) * own_data)
        own_noise = 2 * F.avg_pool2d(own_noise, 2)
        own_data = F.interpolate(own_data, scale_factor=0.5, mode="bilinear")
    assert path.begin(normal(4000, 1, 8, 8)).std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_stage_is_the_straight_line_less_the_detail_that_comes(stage):
    """x = sigma n + (1 - sigma) d - r (1 - s) q, and velocity (s - e) (n - d) - (1 - s) q, with q = d - Up(Down(d))."""
    path, data, noise = path_of(2 / 3, 1 / 3), normal(5, 3, 8, 8), normal(5, 3, 8, 8, seed=1)
    e, high = [(2 / 3, 1.0), (1 / 3, 2 / 3), (0.0, 1 / 3)][stage]
    s = 2 * high / (1 + high)
    n, d = noise, data
    for _ in range(2 - stage):
        n, d = 2 * F.avg_pool2d(n, 2), F.avg_pool2d(d, 2)
    q = d - F.interpolate(F.avg_pool2d(d, 2), scale_factor=2, mode="nearest")
    r = torch.tensor([1.0, 0.7, 0.5, 0.1, 0.0]).double()
    mixture = path.along(path.own_time(stage, e + (high - e) * r), data)
    r = r.view(5, 1, 1, 1)
    sigma, ends = e + (s - e) * r, path.ends(stage, data, noise)
    torch.testing.assert_close(mixture.state(*ends), sigma * n + (1 - sigma) * d - r * (1 - s) * q)
    torch.testing.assert_close(mixture.velocity(*ends), ((s - e) * (n - d) - (1 - s) * q))


def test_the_clock_lays_stages_end_to_end():
    two, three = path_of(0.5), path_of(2 / 3, 1 / 3)
    at = lambda path, *t: path.clock(torch.tensor(t).double()).tolist()  # noqa: E731
    assert at(two, 1.0, 0.5, 0.0) == pytest.approx([1, 4 / 7, 0])
    assert at(two, 0.75, 0.25) == pytest.approx([1 - 3 / 14, 2 / 7])
    assert at(three, 1.0, 2 / 3, 1 / 3, 0.0) == pytest.approx([1, 0.744, 0.386, 0], abs=1.5e-3)


def test_the_signal_to_noise_ratio_is_of_the_stages_own_noise():
    t = torch.tensor([1.0, 0.75, 0.5 + 1e-9, 0.5, 0.25, 0.0], dtype=torch.float64)
    sigma = torch.tensor([1.0, 0.75, 0.5, 2 / 3, 1 / 3, 1e-3], dtype=torch.float64)
    expected = ((1 - sigma) / sigma).square()
    expected[-1] = 1e6
    torch.testing.assert_close(path_of(0.5).snr(t), expected)


SMALL = {
    "name": "small",
    "backbone": {
        "latent": {"channels": 2, "height": 8, "width": 8},
        "num_classes": 3,
        "dim": 8,
        "depth": 2,
        "heads": 2,
        "patch_schedule": {"type": "pyramid", "stages": 3, "patch": 2},
    },
    "objective": {"path": "pyramid"},
}


def built(**backbone) -> zoo.Backbone:
    recipe = {**SMALL, "backbone": {**SMALL["backbone"], **backbone}}
    return zoo.build(recipe, registry=REGISTRY, dtype=torch.float64)


def knowing(backbone: zoo.Backbone, data: torch.Tensor) -> list[tuple[int, tuple[int, ...], float]]:
    """Have a backbone predict what leads to these data, and write down what it is asked."""
    asked, path = [], backbone.path

    def forward_stage(stage, z, t, labels=None, modulation=None):
        asked.append((stage, tuple(z.shape[2:]), round(float(t[0]), 6)))
        u, zero = float(path.own_time(stage, t)[0]), torch.zeros_like(data)
        given = path.ends(stage, data, zero)  # the rest of z is noise, of so much of it
        share = u * path.noise_starts[stage] + (1 - u) * path.noise_ends[stage]
        noise = (z - (1 - u) * given[0] - u * given[1]) / max(share, 1e-9)
        length = path.noise_starts[stage] - path.noise_ends[stage]
        return given[1] - given[0] + length * noise

    backbone.forward_stage = forward_stage
    return asked


@pytest.mark.parametrize("renoising", ["correlated", "none"])
def test_each_stage_is_drawn_at_its_size_and_leads_to_the_data(renoising):
    backbone, data = built(), normal(2, 2, 8, 8)
    backbone.path.renoising = renoising
    asked = knowing(backbone, data)
    draw = lambda k: normal(2, 2, 8, 8, seed=k)  # noqa: E731
    drawn = sample(backbone, EulerSolver(), draw(99), torch.tensor([0, 2]), steps=6, draw=draw)
    torch.testing.assert_close(drawn, data)
    sizes = [(8 >> 2, 8 >> 2), (4, 4), (8, 8)]
    times = [float(Fraction(k, 6)) for k in range(6, 0, -1)]
    assert asked == [(k // 2, sizes[k // 2], pytest.approx(t, abs=1e-5)) for k, t in enumerate(times)]


def test_heuns_corrector_stays_in_its_stage():
    backbone = built()
    asked = knowing(backbone, normal(1, 2, 8, 8))
    draw = lambda k: normal(1, 2, 8, 8, seed=k)  # noqa: E731
    sample(backbone, HeunSolver(), draw(99), torch.tensor([0]), steps=3, draw=draw)
    assert [stage for stage, *_ in asked] == [0, 0, 1, 1, 2, 2]


def test_a_solver_that_adds_noise_is_refused():
    backbone = built()
    with pytest.raises(ZooError, match=r"sample.solver: adds noise, and where objective.path goes in segments"):
        zoo.sample(backbone, [0], steps=6, solver=EulerMaruyamaSolver(), registry=REGISTRY)


PPFLOW = [{"noise_above": 0.5, "patch": 4}, {"noise_above": 0.0, "patch": 2}]
REFUSED = {
    "stages of one size": (
        {"type": "by_timestep", "stages": PPFLOW},
        "objective.path: pyramid: no stage has a scale, and so there is no pyramid",
    ),
    "one stage": ({"type": "uniform", "patch": 2}, "pyramid: no stage has a scale"),
    "MPDiT's levels alone": (
        {"type": "by_depth", "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]},
        "pyramid: no stage has a scale",
    ),
    "a last stage of another size": (
        {"type": "by_timestep", "stages": [{**each, "scale": 2} for each in PPFLOW]},
        "pyramid: the last stage has a scale",
    ),
    "sizes that fall": (
        {
            "type": "by_timestep",
            "stages": [
                {"noise_above": 0.6, "patch": 2, "scale": 2},
                {"noise_above": 0.3, "patch": 1, "scale": 4},
                {"noise_above": 0.0, "patch": 2},
            ],
        },
        "pyramid: stage 1 has scale [4, 4], which does not divide that of the stage before, [2, 2]",
    ),
    "more halvings than pixels": (
        {"type": "pyramid", "stages": 5, "patch": 1},
        "backbone.patch_schedule.stages: scale 16 does not divide the latent 8x8",
    ),
    "a patch that is too large": (
        {"type": "pyramid", "patch": 8},
        "backbone.patch_schedule.patch: patch 8 does not divide the latent 4x4 of scale 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_pyramid_is_refused_with_a_reason(case):
    schedule, message = REFUSED[case]
    with pytest.raises(RecipeError) as refused:
        built(patch_schedule=schedule)
    assert any(message in line for line in str(refused.value).splitlines()), str(refused.value)


@pytest.mark.parametrize(
    "schedule",
    [
        {"type": "pyramid", "levels": [{"patch": 2, "blocks": 1}, {"patch": 1, "blocks": 1}]},
        {"type": "by_timestep", "stages": [{**PPFLOW[0], "scale": 2}, PPFLOW[1]]},
        {"type": "by_timestep", "stages": [{"noise_above": 0.3, "patch": 1, "scale": [2, 1]}, PPFLOW[1]]},
        {
            "type": "by_depth_and_timestep",
            "stages": [
                {"noise_above": 0.6, "scale": 2, "levels": [{"patch": 2, "blocks": 1}, {"patch": 1, "blocks": 1}]},
                {"noise_above": 0.3, "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]},
                {"noise_above": 0.0, "levels": [{"patch": 2, "blocks": 1}, {"patch": 1, "blocks": 1}]},
            ],
        },
    ],
    ids=["MPDiT's levels", "PPFlow's patches too", "one axis", "a hybrid, two stages of one size"],
)
def test_other_schedules_lead_to_the_data_too(schedule):
    backbone, data = built(patch_schedule=schedule), normal(2, 2, 8, 8)
    real = backbone.forward_stage
    assert real(0, backbone.path.begin(data), torch.ones(2).double(), torch.tensor([0, 2])).isfinite().all()
    knowing(backbone, data)
    draw = lambda k: normal(2, 2, 8, 8, seed=k)  # noqa: E731
    drawn = sample(backbone, EulerSolver(), draw(99), torch.tensor([0, 2]), steps=9, draw=draw)
    torch.testing.assert_close(drawn, data)
