"""Laws of paths."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zoo.paths import AffinePath
from zoo.testing.asserts import assert_close, assert_each_alone
from zoo.testing.cases import BATCH, Case
from zoo.testing.law import Law, law

T = torch.linspace(0, 1, 101, dtype=torch.float64)
STEP, SHORT = 1e-5, 1e-7
"""Between noise levels of which slopes are taken; at t = 1 there is one side alone, whose slope may bend more."""


@law("Compute alpha and sigma from t alone, elementwise, and guard roots and ratios at t = 0 and t = 1.")
def mixes_at_every_noise_level(case: Case) -> None:
    """Alpha and sigma are finite and not negative at every noise level, in shape, dtype and on the device of t."""
    path = case.create()
    for name, function in (("alpha", path.alpha), ("sigma", path.sigma)):
        given = T.clone()
        values = function(given)
        assert values.shape == T.shape, f"{name} has shape {list(values.shape)} for {list(T.shape)}"
        assert values.dtype == T.dtype, f"{name} is {values.dtype} for {T.dtype}"
        assert values.isfinite().all(), f"{name} is not finite"
        assert (values >= 0).all(), f"{name} is negative"
        assert torch.equal(given, T), f"{name} changes its inputs"
        assert function(T.to("meta")).device.type == "meta", f"{name} leaves the device of t"


@law("Look for a maximum, a mean or a cumulative sum over t: the samples of a batch have noise levels of their own.")
def path_takes_each_alone(case: Case) -> None:
    """Alpha, sigma and the clock of a noise level hang on no other that comes with it."""
    path = case.create()
    for name in ("alpha", "sigma", "clock"):
        assert_each_alone(getattr(path, name), T, what=name)


@law("Look for a turned clock: t = 0 is data, t = 1 noise, and sigma / alpha rises on the whole way.")
def noise_grows(case: Case) -> None:
    """The state is data at t = 0 and noise at t = 1, ten to one, and the share of noise rises between."""
    path = case.create()
    alpha, sigma = path.alpha(T), path.sigma(T)
    assert alpha[0] >= 10 * sigma[0], f"the state is no data at t = 0: {alpha[0]:.3g} data, {sigma[0]:.3g} noise"
    assert sigma[-1] >= 10 * alpha[-1], f"the state is no noise at t = 1: {alpha[-1]:.3g} data, {sigma[-1]:.3g} noise"
    assert (alpha[:-1] > 0).all(), "alpha is 0 before t = 1"
    assert ((sigma[:-1] / alpha[:-1]).diff() > 0).all(), "sigma / alpha falls, or stands still"


@law("Divide alpha and sigma by sqrt(sigma^2 + the data's variance), as EDM's c_in does: networks see the state.")
def noise_has_unit_variance(case: Case) -> None:
    """At t = 1 sigma is about 1, since sampling starts from standard normal noise."""
    sigma = float(case.create().sigma(T[-1:]))
    assert abs(sigma - 1) <= 0.1, f"sigma is {sigma:.3g} at t = 1"


@law(
    "Leave rates() to the base class, or make it the derivatives of alpha and sigma by t; take paths whose slope is"
    " finite at t = 1, where sampling starts: alpha = sqrt(1 - t) has none there."
)
def rates_are_derivatives(case: Case) -> None:
    """``rates`` are the slopes of alpha and sigma, on either side of a kink, and finite from ``floor`` to 1."""
    path = case.create()
    ends = torch.cat([T.clamp(min=path.floor), 1 - path.floor / torch.tensor([1.0, 10.0], dtype=T.dtype)])
    for name, rate in zip(("alpha", "sigma"), path.rates(ends), strict=True):
        assert rate.shape == ends.shape, f"the rate of {name} has shape {list(rate.shape)} for {list(ends.shape)}"
        wrong = ends[~rate.isfinite()]
        assert not len(wrong), f"the rate of {name} is not finite at t = {float(wrong[-1]):.4g}"
    t = T[1:-1]
    for name, function, rate, last in zip(
        ("alpha", "sigma"), (path.alpha, path.sigma), path.rates(t), path.rates(T[-1:]), strict=True
    ):
        before, here, after = (function(t + step) for step in (-STEP, 0.0, STEP))
        slopes = torch.stack([after - before, 2 * (here - before), 2 * (after - here)]) / (2 * STEP)
        nearest = (slopes - rate).abs().argmin(dim=0, keepdim=True)
        assert_close(rate, slopes.gather(0, nearest)[0], f"the rate of {name} is not its slope", 1e-4)
        slope = (function(T[-1:]) - function(T[-1:] - SHORT)) / SHORT
        assert_close(last, slope, f"the rate of {name} is not its slope at t = 1, where sampling starts", 1e-3)


@law("Let clock() rise with t, and keep shape, dtype and device of it.")
def clock_keeps_time(case: Case) -> None:
    """What the time embedder is fed is finite and rises, nowhere falling, in shape, dtype and on the device of t."""
    path = case.create()
    for dtype in (torch.float32, torch.float64):
        t = T.to(dtype)
        clock = path.clock(t)
        assert clock.shape == t.shape, f"the clock has shape {list(clock.shape)} for {list(t.shape)}"
        assert clock.dtype == dtype, f"the clock is {clock.dtype} for {dtype}"
        assert clock.isfinite().all(), "the clock is not finite"
        assert (clock.diff() >= 0).all(), "the clock falls"
        assert clock[-1] > clock[0], "the clock stands still"
        assert path.clock(t.to("meta")).device.type == "meta", "the clock leaves the device of t"


@law(
    "Let range() give the same (low, high) to all stages of a segment, from 1 down to 0 without a gap, and none to a"
    " stage that does not lie in it: the ranges that the constructor is supplied with do."
)
def segments_join(case: Case) -> None:
    """The segments of a path lead from noise level 1 to 0, each from where one ends, and hold their stages."""
    path, above, before = case.create(), 1.0, (1.0, 1.0)
    for stage, (low, high) in enumerate(case.site.ranges):
        own = path.range(stage)
        if own != before:
            assert own[1] == above, f"the segment of stage {stage} is {own}, and begins not at {above:g}"
            above, before = own[0], own
        assert own[0] <= low < high <= own[1], f"the segment of stage {stage} is {own}, and the stage {(low, high)}"
    assert above == 0.0, f"the last segment ends at {above:g}, not at 0"


@law(
    "Return what ends(), begin() and jump() promise: [b, C, *own], the data's size divided by the stage's scale, in"
    " dtype and on the device of what is given, which stays as it is; sample by sample."
)
def ends_have_their_size(case: Case) -> None:
    """Both ends of a stage, the first state and that after a jump have the stage's size, each sample by itself."""
    path, site = case.create(), case.site
    for dtype in (torch.float32, torch.float64):
        for stage in range(len(site.ranges)):
            for what, function, given in _moves(case, path, stage, dtype):
                scale = site.scales[stage] if path.resizes else (1,) * site.axes
                sizes = (side // each for side, each in zip(_size(case, path), scale, strict=True))
                shape = (BATCH, site.channels, *sizes)
                before = [each.clone() for each in given]
                for end in _tensors(function(*given)):
                    assert end.shape == shape, f"{what} has shape {list(end.shape)} in place of {list(shape)}"
                    assert end.dtype == dtype, f"{what} is {end.dtype} for {dtype}"
                assert all(map(torch.equal, given, before)), f"{what}: changes its inputs"
                for end in _tensors(function(*(each.to("meta") for each in given))):
                    assert end.device.type == "meta", f"{what} leaves the device of what is given"
                alone = zip(
                    *(_tensors(function(*(each[i : i + 1] for each in given))) for i in range(BATCH)), strict=True
                )
                for end, apart in zip(_tensors(function(*given)), alone, strict=True):
                    assert_close(end, torch.cat(apart), f"{what} of a sample hangs on the others", 1e-5)


@law("Let ends() give stage 0 the noise that begin() starts from, and the last stage the data as they are.")
def begins_and_ends_as_trained(case: Case) -> None:
    """Sampling starts from the noisy end of the first stage, and ends at the clean end of the last, the data."""
    path = case.create()
    data, noise = (_random(case, _size(case, path), torch.float64, seed) for seed in (0, 1))
    assert_close(path.ends(0, data, noise)[1], path.begin(noise), "sampling starts from another state than training")
    clean = path.ends(len(case.site.ranges) - 1, data, noise)[0]
    assert_close(clean, data, "the clean end of the last stage is not the data")


def _moves(case: Case, path: AffinePath, stage: int, dtype: torch.dtype) -> Iterator[tuple[str, Any, list[Tensor]]]:
    """What makes states of a stage, with what it is called with."""
    data, noise = (_random(case, _size(case, path), dtype, seed) for seed in (0, 1))
    yield f"ends of stage {stage}", partial(path.ends, stage), [data, noise]
    if stage == 0:
        yield "begin", path.begin, [noise]
    elif path.range(stage) != path.range(stage - 1):
        before, _ = path.ends(stage - 1, data, noise)
        yield f"jump to stage {stage}", partial(path.jump, stage), [before, noise.flip(0)]


def _size(case: Case, path: AffinePath) -> tuple[int, ...]:
    """Of the data: two of the coarsest stage's, and another number on each axis."""
    coarsest = case.site.scales[0] if path.resizes else (1,) * case.site.axes
    return tuple((2 + axis) * each for axis, each in enumerate(coarsest))


def _random(case: Case, size: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(case.seed + seed)
    return torch.randn(BATCH, case.site.channels, *size, generator=generator, dtype=torch.float64).to(dtype)


def _tensors(returned: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (returned,) if isinstance(returned, Tensor) else returned


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "path": (
        mixes_at_every_noise_level,
        path_takes_each_alone,
        noise_grows,
        noise_has_unit_variance,
        rates_are_derivatives,
        clock_keeps_time,
        segments_join,
        ends_have_their_size,
        begins_and_ends_as_trained,
    ),
}
