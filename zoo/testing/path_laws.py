"""Laws of paths."""

from __future__ import annotations

import torch

from zoo.testing.asserts import assert_close, assert_each_alone
from zoo.testing.cases import Case
from zoo.testing.law import Law, law

T = torch.linspace(0, 1, 101, dtype=torch.float64)
STEP = 1e-5


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


@law("Leave rates() to the base class, or make it the derivatives of alpha and sigma by t.")
def rates_are_derivatives(case: Case) -> None:
    """``rates`` are the slopes of alpha and sigma."""
    path, t = case.create(), T[2:-2]
    for name, function, rate in zip(("alpha", "sigma"), (path.alpha, path.sigma), path.rates(t), strict=True):
        assert rate.shape == t.shape, f"the rate of {name} has shape {list(rate.shape)} for {list(t.shape)}"
        slope = (function(t + STEP) - function(t - STEP)) / (2 * STEP)
        assert_close(rate, slope, f"the rate of {name} is not its slope", 1e-4)


@law("Let clock() rise with t, and keep shape, dtype and device of it.")
def clock_keeps_time(case: Case) -> None:
    """What the time embedder is fed is finite and never falls, in shape, dtype and on the device of t."""
    path = case.create()
    for dtype in (torch.float32, torch.float64):
        t = T.to(dtype)
        clock = path.clock(t)
        assert clock.shape == t.shape, f"the clock has shape {list(clock.shape)} for {list(t.shape)}"
        assert clock.dtype == dtype, f"the clock is {clock.dtype} for {dtype}"
        assert clock.isfinite().all(), "the clock is not finite"
        assert (clock.diff() >= 0).all(), "the clock falls"
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
"""Laws of each kind."""
