"""Laws of noise samplers, weightings and solvers."""

from __future__ import annotations

from functools import partial
from itertools import filterfalse

import torch
from torch import Tensor

from zoo.flow.base import Velocity
from zoo.paths import AffinePath, LinearPath, VariancePreservingPath
from zoo.testing.asserts import assert_close, assert_each_alone, refuses
from zoo.testing.cases import Case
from zoo.testing.gaussian import GaussianFlow
from zoo.testing.law import Law, law
from zoo.testing.options_laws import every_option_changes_something

SHAPE = (2, 3, 1)
DTYPES = (torch.float32, torch.float64, torch.bfloat16)
STEPS, MORE = (1, 2, 5), (8, 16, 64)
FEW = 3
"""Examples, where a solver is asked by its default options alone, and noise is all that differs."""

LINE = LinearPath()
DATA = GaussianFlow()

# -- noise samplers ---------------------------------------------------------------------------------------------------


@law("Derive cdf() from quantile(), or the other way round: they are inverse to each other, and noise level 0 is data.")
def cdf_inverts_quantile(case: Case) -> None:
    """``cdf(quantile(u))`` is u."""
    sampler = case.create()
    u = torch.linspace(0.001, 0.999, 101, dtype=torch.float64)
    assert_close(sampler.cdf(sampler.quantile(u)), u, "cdf is not the inverse of quantile", 1e-6)


@law("Let quantile() rise from 0 to 1, clamped to them: the noise level grows with the probability.")
def quantile_rises(case: Case) -> None:
    """Quantiles are noise levels in [0, 1], and rise with the probability."""
    t = case.create().quantile(torch.linspace(0, 1, 101, dtype=torch.float64))
    assert ((t >= 0) & (t <= 1)).all(), "quantile leaves [0, 1]"
    assert (t.diff() >= 0).all(), "quantile falls somewhere"


@law("Clamp cdf() to exactly 0 at noise level 0 and to 1 at 1, where a logit or a logarithm gives NaN.")
def cdf_has_both_ends(case: Case) -> None:
    """No noise level is below 0, and all are at most 1: ``cdf`` is exactly 0 at 0, and 1 at 1."""
    ends = case.create().cdf(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    assert ends == [0.0, 1.0], f"cdf is {ends[0]} at 0 and {ends[1]} at 1"


@law("Compute in the dtype of what is given, or cast back, and change nothing in place.")
def sampler_keeps_dtype(case: Case) -> None:
    """``quantile`` and ``cdf`` keep shape and dtype of what they are given, and leave it as it was."""
    sampler = case.create()
    for dtype in DTYPES:
        u = torch.rand(2, 3, generator=torch.Generator().manual_seed(case.seed), dtype=torch.float64).to(dtype)
        before = u.clone()
        for values in (sampler.quantile(u), sampler.cdf(u)):
            assert values.shape == u.shape, f"returns shape {list(values.shape)} for {list(u.shape)}"
            assert values.dtype == dtype, f"returns {values.dtype} for {dtype}"
        assert torch.equal(u, before), "changes its inputs"


@law("Look for a sort, a rank or a mean over what is given: zoo stratifies batches, and asks for single levels too.")
def sampler_takes_each_alone(case: Case) -> None:
    """``quantile`` and ``cdf`` of a number hang on no other that comes with it."""
    sampler, u = case.create(), torch.linspace(0, 1, 101, dtype=torch.float64)
    assert_each_alone(sampler.quantile, u, what="the quantile")
    assert_each_alone(sampler.cdf, u, what="the cdf")


# -- weightings -------------------------------------------------------------------------------------------------------


@law(
    "Guard the ends t = 0 and t = 1, where a ratio of data and noise is 0 or infinite, and return the shape "
    "and dtype of t."
)
def weighs_every_noise_level(case: Case) -> None:
    """Weights are finite, not negative and not all zero, on noise levels from 0 to 1, in shape and dtype of t."""
    weighting = case.create()
    for dtype in DTYPES:
        t = torch.linspace(0, 1, 101, dtype=dtype)
        snr = LinearPath().snr(t)
        before, snr_before = t.clone(), snr.clone()
        weight = weighting.weight(t, snr)
        assert weight.shape == t.shape, f"returns shape {list(weight.shape)} for {list(t.shape)}"
        assert weight.dtype == dtype, f"returns {weight.dtype} for {dtype}"
        assert weight.isfinite().all(), "a weight is not finite"
        assert (weight >= 0).all(), "a weight is negative"
        assert torch.equal(t, before), "changes its inputs"
        assert torch.equal(snr, snr_before), "changes its inputs"
    t = torch.linspace(0, 1, 10001, dtype=torch.float64)  # on which a narrow band shows
    assert weighting.weight(t, LinearPath().snr(t)).any(), "all weights are 0: nothing is trained"


@law("Look for a mean, a sum or a maximum over t: a weight that hangs on its batch makes the loss hang on its size.")
def weighs_each_alone(case: Case) -> None:
    """The weight of a noise level hangs on no other of its batch."""
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert_each_alone(case.create().weight, t, LINE.snr(t), what="the weight")


# -- solvers ----------------------------------------------------------------------------------------------------------


@law(
    "Let solve() evaluate at exactly what levels(steps) returns, in its order, and draw the noise of update k "
    "by draw(k), once."
)
def follows_its_levels(case: Case) -> None:
    """The velocity is evaluated at the noise levels that ``levels`` tells, from 1 on, new ones for every update.

    The noise of an update is drawn once at most. Numbers of steps that do not suit it, it may refuse (ValueError).
    """
    for steps in _taken(case):
        run = Solving(case)
        run.solve(steps)
        levels = run.solver.levels(steps)
        if levels is not None:
            assert run.levels == list(levels), f"evaluates at {run.levels}, and levels({steps}) tells {list(levels)}"
            assert len({t for t in levels if t > 0}) >= steps, f"{steps} steps have too few noise levels: {levels}"
        assert run.levels[0] == 1.0, f"starts at noise level {run.levels[0]}"
        assert all(0 <= t <= 1 for t in run.levels), f"evaluates outside of [0, 1]: {run.levels}"
        if levels is not None:
            assert set(run.draws) <= set(range(steps)), f"draws noise of updates {run.draws}, of {steps}"
        assert len(set(run.draws)) == len(run.draws), f"uses noise twice: {run.draws}"


@law("Cast intermediate values back to the dtype of the noise, and change it nowhere in place.")
def solver_keeps_dtype(case: Case) -> None:
    """Latents have shape and dtype of the noise, which stays as it was."""
    for dtype in DTYPES:
        run = Solving(case, dtype=dtype)
        before = run.noise.clone()
        latents = run.solve(_taken(case)[-1])
        assert latents.shape == run.noise.shape, f"returns shape {list(latents.shape)} for {list(run.noise.shape)}"
        assert latents.dtype == dtype, f"returns {latents.dtype} for {dtype}"
        assert torch.equal(run.noise, before), "changes the noise that it is given"


@law("Make tensors on the device of the noise, as torch.zeros(..., device=noise.device).")
def solver_keeps_device(case: Case) -> None:
    """Nothing is made on another device than the noise's.

    (Adaptive solvers look at values, and cannot be asked.)
    """
    run, steps = Solving(case, device="meta"), _taken(case)[-1]
    if run.solver.levels(steps) is not None:
        assert run.solve(steps).device.type == "meta", "leaves the device of the noise"


@law(
    "Look for a mean or a norm over dimension 0, which holds other samples; return None from levels() where "
    "steps hang on values."
)
def solves_each_alone(case: Case) -> None:
    """A sample does not depend on who else is in its batch, but for an adaptive solver."""
    run, steps = Solving(case), _taken(case)[-1]
    if run.solver.levels(steps) is None:
        return
    together = run.solve(steps)
    for index in range(len(together)):
        alone = run.solve(steps, only=slice(index, index + 1))
        assert_close(together[index : index + 1], alone, "a sample depends on the rest of its batch")


@law(
    "Add velocity times the length of each step from 1 down to 0: the lengths add up to 1, and weights of "
    "several velocities to 1."
)
def is_exact_on_straight_lines(case: Case) -> None:
    """A constant velocity is followed exactly, unless noise is added on the way."""
    run = Solving(case, velocity=lambda z, t: torch.full_like(z, 0.75))
    taken = _taken(case)
    run.solve(taken[-1])
    if run.draws:
        return
    for steps in taken:
        assert_close(run.solve(steps), run.noise - 0.75, "a constant velocity leads elsewhere", 1e-5)


@law("Look for a wrong sign or end of time: z at t = 1 is noise, at 0 data, and velocity is dz/dt.", examples=FEW)
def reaches_the_data(case: Case) -> None:
    """With many steps and the default options, noise becomes the data that the velocity belongs to.

    Options may trade accuracy away, so that the defaults are asked, where all options have one.
    """
    _reaches_the_data(Solving(case, batch=4096, defaults=True))


@law(
    "Ask path.at(t) for alpha, sigma, and the data and noise of a velocity: 1 - t and t are the straight line's.",
    examples=FEW,
)
def reaches_the_data_on_other_paths(case: Case) -> None:
    """The same where the path is no straight line, but DDPM's."""
    _reaches_the_data(Solving(case, batch=4096, defaults=True, path=VariancePreservingPath()))


def _reaches_the_data(run: Solving) -> None:
    latents = run.solve(100)
    if run.draws:
        mean, std = float(latents.mean()), float(latents.std())
        message = f"data of mean {DATA.mean} and deviation {DATA.std} come out with {mean:.3f} and {std:.3f}"
        assert max(abs(mean - DATA.mean), abs(std - DATA.std)) < 0.05, message
    else:
        expected = GaussianFlow(path=run.path).samples(run.noise)
        assert_close(latents, expected, "noise does not become the data that it should", 0.05)


def _taken(case: Case) -> list[int]:
    """The numbers of steps to try a solver with: few, or more, where ``levels`` refuses these (ValueError)."""
    refused = partial(refuses, case.create().levels)
    return list(filterfalse(refused, STEPS)) or [next(filterfalse(refused, MORE), MORE[-1])]


class Solving:
    """A solver with noise to start from, and a record of what it asks for.

    Args:
        case: the solver's.
        batch: samples.
        dtype: of the noise.
        device: of the noise.
        velocity: what to follow; the data's if left out.
        path: from data to noise.
        defaults: take the solver's default options, if all have one.
    """

    def __init__(
        self,
        case: Case,
        *,
        batch: int = 3,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
        velocity: Velocity | None = None,
        path: AffinePath = LINE,
        defaults: bool = False,
    ) -> None:
        options = type(case.options)
        required = any(field.is_required() for field in options.model_fields.values())
        self.solver = case.entry.create(options() if defaults and not required else case.options, case.supplied)
        self.velocity, self.path = velocity or GaussianFlow(path=path).velocity, path
        self.generator = torch.Generator().manual_seed(case.seed)
        self.shape, self.dtype, self.device = (batch, *SHAPE), dtype, device
        self.noise = self._normal()
        self.drawn: dict[int, Tensor] = {}
        self.levels: list[float] = []
        self.draws: list[int] = []

    def solve(self, steps: int, only: slice = slice(None)) -> Tensor:
        """Latents of some of the samples; the same noise at every call."""
        self.levels, self.draws = [], []
        return self.solver.solve(self._evaluate, self.noise[only], steps, self.path, lambda k: self._draw(k)[only])

    def _evaluate(self, z: Tensor, t: float) -> Tensor:
        self.levels.append(t)
        return self.velocity(z, t)

    def _draw(self, k: int) -> Tensor:
        self.draws.append(k)
        if k not in self.drawn:
            self.drawn[k] = self._normal()
        return self.drawn[k]

    def _normal(self) -> Tensor:
        return torch.randn(self.shape, generator=self.generator, dtype=torch.float64).to(self.device, self.dtype)


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "noise_sampler": (
        cdf_inverts_quantile,
        quantile_rises,
        cdf_has_both_ends,
        sampler_keeps_dtype,
        sampler_takes_each_alone,
        every_option_changes_something,
    ),
    "weighting": (weighs_every_noise_level, weighs_each_alone, every_option_changes_something),
    "solver": (
        follows_its_levels,
        solver_keeps_dtype,
        solver_keeps_device,
        solves_each_alone,
        is_exact_on_straight_lines,
        reaches_the_data,
        reaches_the_data_on_other_paths,
    ),
}
