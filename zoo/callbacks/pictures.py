"""Grids of samples while a run trains."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zoo.callbacks.base import Callback
from zoo.callbacks.training import Step, Training
from zoo.pictures import grid
from zoo.registry import part


@part("callback", "pictures")
class Pictures(Callback):
    """Grids of samples of the averaged weights, at the end of training and before.

    Options:
        every: steps between grids; null for one at the end.
        count: samples of a grid.
    """

    everywhere = True
    writes_to = "samples"

    def __init__(
        self, *, every: Annotated[int | None, Field(ge=1)] = None, count: Annotated[int, Field(ge=1, le=1024)] = 16
    ) -> None:
        self.every, self.count = every, count

    def begin(self, training: Training) -> None:
        """Say so where there will be none."""
        if not training.makes_images:
            training.say(f"note: dataset {training.recipe.data.dataset.type} makes no pictures; no grids are drawn")

    def step(self, training: Training, step: Step) -> None:
        """A grid, where one is due."""
        due = self.every is not None and step.step % self.every == 0
        if due or step.step == training.steps:
            self._draw(training)

    def _draw(self, training: Training) -> None:
        images = training.images(self.count)
        if images is not None:
            training.show(grid(images))
