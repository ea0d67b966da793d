"""Laws of paths."""

from __future__ import annotations

import torch

from zoo.testing.asserts import assert_close, assert_each_alone
from zoo.testing.cases import Case
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


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "path": (
        mixes_at_every_noise_level,
        path_takes_each_alone,
        noise_grows,
        noise_has_unit_variance,
        rates_are_derivatives,
        clock_keeps_time,
    ),
}
