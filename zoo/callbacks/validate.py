"""The loss of held-out samples while a run trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.callbacks.base import Callback
from zoo.callbacks.training import HeldOut, Step, Training
from zoo.data import Dataset
from zoo.errors import MissingSplitError, RecipeError, RunError
from zoo.recipe import Recipe
from zoo.registry import part

WEIGHTS = ("ema", "raw")
"""Whose loss is told: averaged ones, of several the first, and the last."""


@part("callback", "validate")
class Validate(Callback):
    """The loss of held-out samples at fixed noise levels, of averaged weights and of the last ones.

    Every level meets the same samples with the same noise, every time: lines of a run, and of runs of other recipes on
    the same latents, differ by the weights alone. A line of the metrics has under ``validate``, for ``ema`` and
    ``raw``, the mean ``loss``, that of every stage (``stages``, noisiest first) and of every noise level (``levels``).
    Who watches is told the means, and reports draw them against steps.

    Options:
        every: steps between two of them; null for train.checkpoint_every. There is one at the end besides.
        samples: how many held-out samples at most, chosen at random.
        levels: noise levels, at equal distances in (0, 1).
        seed: of the choice of samples and of their noise.
    """

    everywhere = True

    def __init__(
        self,
        *,
        every: Annotated[int | None, Field(ge=1)] = None,
        samples: Annotated[int, Field(ge=1)] = 512,
        levels: Annotated[int, Field(ge=1, le=1000)] = 8,
        seed: Annotated[int, Field(ge=0, lt=2**63)] = 0,
    ) -> None:
        self.every, self.samples, self.seed = every, samples, seed
        self.levels = [(level + 0.5) / levels for level in range(levels)]
        self._held_out: HeldOut | None = None

    def check(self, recipe: Recipe, dataset: Dataset) -> None:
        """Look for the samples.

        Raises:
            RecipeError: the dataset holds none out.
        """
        try:
            dataset.open("held_out")
        except MissingSplitError as error:
            raise RecipeError([f"it asks for held-out samples: {error}; or leave the callback out"]) from error

    def begin(self, training: Training) -> None:
        """Open the samples.

        Raises:
            RunError: no noise level belongs to some stage.
        """
        held_out = training.held_out(self.samples, self.seed)
        stages = held_out.stages(self.levels)
        (cleanest,) = held_out.stages([0.0])
        if missed := sorted(set(range(cleanest + 1)) - set(stages)):
            raise RunError(f"none of its {len(stages)} noise levels is of stage {missed[0]}; let it have more levels")
        self._held_out = held_out

    def step(self, training: Training, step: Step) -> None:
        """A line, where one is due."""
        if step.step % (self.every or training.recipe.train.checkpoint_every) and step.step != training.steps:
            return
        assert self._held_out is not None
        losses, stages = self._held_out.losses(WEIGHTS, self.levels), self._held_out.stages(self.levels)
        found = {which: self._figures(own, stages) for which, own in zip(WEIGHTS, losses, strict=True)}
        training.log(found)
        means = ", ".join(f"{figures['loss']:.4f} ({which})" for which, figures in found.items())
        training.say(f"step {step.step}: held-out loss {means}")

    def _figures(self, losses: Float[Tensor, "levels n"], stages: Sequence[int]) -> dict[str, Any]:
        by_level = list(map(_mean, losses))
        by_stage = [
            [loss for own, loss in zip(stages, by_level, strict=True) if own == stage] for stage in sorted(set(stages))
        ]
        return {
            "loss": _mean(by_level),
            "stages": list(map(_mean, by_stage)),
            "levels": {f"{level:g}": loss for level, loss in zip(self.levels, by_level, strict=True)},
        }


def _mean(values: Sequence[float] | Float[Tensor, " n"]) -> float:
    """Exact, so that no order of summing tells."""
    numbers = [float(value) for value in values]
    return math.fsum(numbers) / len(numbers)
