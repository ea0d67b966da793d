"""Laws of guidance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from zoo.flow.base import Guidance
from zoo.paths import AffinePath, LinearPath, VariancePreservingPath
from zoo.testing.asserts import assert_close, assert_equal
from zoo.testing.cases import BATCH, Case, sample_of
from zoo.testing.law import Law, law
from zoo.testing.options_laws import Round, idle_options

LEVELS = (1.0, 0.9, 0.75, 0.5, 0.5, 0.3, 0.1, 0.0)
"""Of a solver's evaluations, one of them asked for twice, as Heun's are."""

GRID = torch.linspace(0, 1, 201, dtype=torch.float64).tolist()
DTYPES = (torch.float32, torch.float64)
PATHS: tuple[AffinePath, ...] = (LinearPath(), VariancePreservingPath())


@law("Let scale() return a plain float that hangs on stage, t and the options alone; is_none is for 1 everywhere.")
def scale_is_a_number(case: Case) -> None:
    """A scale is a finite float, the same whenever it is asked for; it is 1 everywhere where ``is_none``."""
    guidance = case.create()
    places = [(stage, t) for stage in range(case.site.stages) for t in GRID]
    scales = [guidance.scale(stage, t) for stage, t in places]
    for (stage, t), scale in zip(places, scales, strict=True):
        what = f"the scale of stage {stage} at noise level {t:g} is"
        assert isinstance(scale, float), f"{what} a {type(scale).__name__}, and should be a float"
        assert math.isfinite(scale), f"{what} {scale}"
    again = [guidance.scale(stage, t) for stage, t in reversed(places)]
    assert scales == again[::-1], "the scale hangs on what was asked before"
    assert not guidance.is_none or set(scales) == {1.0}, "is_none, and a scale is not 1"


@law(
    "Return exactly 1.0 from scale() where the option scale is 1, and set is_none: who writes --guidance 1 wants none."
)
def scale_of_one_is_none(case: Case) -> None:
    """By a ``scale`` of 1 nothing is guided, so that the velocity is the first to the last bit, at no cost."""
    options = type(case.options)
    if "scale" not in options.model_fields:
        return
    required = {name: getattr(case.options, name) for name in case.entry.signature.required if name != "scale"}
    guidance = replace(case, options=options.model_validate({**required, "scale": 1.0})).create()
    run = Following(case)
    assert_equal(run.follow(guidance), list(run.first), "a scale of 1 changes the velocity")
    assert guidance.is_none, "a scale of 1 is not is_none, and asks for a second prediction"


@law(
    "Name in thresholds each noise level where the guidance begins or ends: solvers take no step of high order over it."
)
def tells_its_thresholds(case: Case) -> None:
    """Where scales turn from 1 or to it on the way there is a threshold; all are noise levels."""
    guidance = case.create()
    assert all(0 <= t <= 1 for t in guidance.thresholds), f"thresholds {guidance.thresholds} are no noise levels"
    for stage in range(case.site.stages):
        for low, high in pairwise(GRID[1:-1]):  # beyond the ends there is nothing to step over
            turns = (guidance.scale(stage, low) == 1.0) != (guidance.scale(stage, high) == 1.0)
            told = any(low <= t <= high for t in guidance.thresholds)
            assert told or not turns, (
                f"begins or ends between noise levels {low:g} and {high:g}, and has no threshold there"
            )


@law("Return a tensor of z's shape and dtype, cast back where join() computes otherwise, and change nothing in place.")
def joins_as_it_is_given(case: Case) -> None:
    """What is joined has shape and dtype of z and is finite, on every path; what was given stays as it was."""
    for dtype in DTYPES:
        for path in PATHS:
            run = Following(case, dtype)
            before = [each.clone() for each in (run.z, run.first, run.second)]
            for got in run.follow(case.create(), path=path):
                assert got.shape == run.z[0].shape, f"returns shape {list(got.shape)} for {list(run.z[0].shape)}"
                assert got.dtype == dtype, f"returns {got.dtype} for {dtype}"
                assert got.isfinite().all(), "a velocity is not finite"
            assert_equal([run.z, run.first, run.second], before, "changes its inputs")


@law("Make tensors on z's device, and read no value of one by float() or if: a graphics card would be waited for.")
def joins_on_any_device(case: Case) -> None:
    """Nothing is made on another device than z's, and nothing hangs on the value of a tensor."""
    for got in Following(case, device="meta").follow(case.create()):
        assert got.device.type == "meta", "leaves the device of z"


@law("Look for a mean or a norm over dimension 0, which holds other samples, also in what is kept from call to call.")
def guides_each_alone(case: Case) -> None:
    """A sample does not depend on who else is in its batch."""
    run = Following(case)
    together = run.follow(case.create())
    for index in range(BATCH):
        alone = run.follow(case.create(), only=slice(index, index + 1))
        assert_close(sample_of(together, index), alone, "a sample depends on the rest of its batch")


@law("Keep what is remembered in self, and nothing at the level of the class or module: each batch has a copy.")
def remembers_its_batch_alone(case: Case) -> None:
    """A copy that has seen nothing gives what the first one gave, whatever others have seen."""
    run, unused = Following(case), case.create()
    first = run.follow(deepcopy(unused))
    run.follow(deepcopy(unused), only=slice(1))
    for guidance in (unused, case.create()):
        assert_equal(run.follow(guidance), first, "what is joined hangs on an earlier batch")


@law("Set remembers where join() hangs on earlier calls: a solver that takes steps back would mislead it.")
def says_that_it_remembers(case: Case) -> None:
    """What is joined at a level is the same whatever came before, unless it ``remembers``."""
    run = Following(case)
    if not case.create().remembers:
        message = "what is joined hangs on what came before, and it does not say remembers"
        assert_equal(run.follow(case.create()), run.follow_anew(case), message)


@law(
    "Read the option in scale() or join(), or leave it out: who sets it in a recipe expects something of it.",
    examples=1,
    required=False,
)
def every_option_guides_otherwise(case: Case) -> None:
    """Each option changes scales, thresholds or velocities, in some case."""
    told = idle_options(case, [Round()] * 6, _shown)
    assert not told, f"whatever {' and '.join(told)} is, scales, thresholds and velocities are the same"


def _shown(case: Case) -> Iterator[Any]:
    guidance = case.create()
    stages = range(case.site.stages)
    yield guidance.is_none, guidance.thresholds, [guidance.scale(stage, t) for stage in stages for t in LEVELS]
    yield [each.tolist() for each in Following(case).follow(guidance)]


class Following:
    """A batch's way through a solver's evaluations, of random states and velocities.

    Args:
        case: the guidance's.
        dtype: of all tensors.
        device: of all tensors.
    """

    def __init__(self, case: Case, dtype: torch.dtype = torch.float64, device: str = "cpu") -> None:
        self.stages = case.site.stages
        generator = torch.Generator().manual_seed(case.seed)
        shape = (3, len(LEVELS), BATCH, *case.site.latent)
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)
        self.z, self.first, self.second = drawn

    def follow(self, guidance: Guidance, *, only: slice = slice(None), path: AffinePath = PATHS[0]) -> list[Tensor]:
        """The velocities of some of the samples at every level, one after the other."""
        return [self._velocity(guidance, place, only, path) for place in range(len(LEVELS))]

    def follow_anew(self, case: Case) -> list[Tensor]:
        """The same of all samples, where none is after another."""
        return [self._velocity(case.create(), place, slice(None), PATHS[0]) for place in range(len(LEVELS))]

    def _velocity(self, guidance: Guidance, place: int, only: slice, path: AffinePath) -> Tensor:
        """As zoo comes by it."""
        t, first = LEVELS[place], self.first[place, only]
        stage = min(int((1 - t) * self.stages), self.stages - 1)
        if guidance.scale(stage, t) == 1.0:
            return first
        second = None if guidance.second is None else self.second[place, only]
        return guidance.join(stage, t, first, second, self.z[place, only], path)


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "guidance": (
        scale_is_a_number,
        scale_of_one_is_none,
        tells_its_thresholds,
        joins_as_it_is_given,
        joins_on_any_device,
        guides_each_alone,
        remembers_its_batch_alone,
        says_that_it_remembers,
        every_option_guides_otherwise,
    ),
}
