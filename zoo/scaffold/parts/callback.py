"""A callback: what is told how a run goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import zoo
from zoo.callbacks import Callback, Step, Training


@zoo.part("callback", "mine")
class MineCallback(Callback):
    """The largest norm of the gradient among the steps in a row, as a figure in metrics.jsonl.

    Options:
        every: steps between figures.
    """

    def __init__(self, *, every: Annotated[int, Field(ge=1, le=1_000_000)] = 100) -> None:
        self.every, self.norms = every, list[float]()

    def step(self, training: Training, step: Step) -> None:
        """Figures of the last steps are written where they are due."""
        if not step.skipped:
            self.norms.append(step.grad_norm)
        if step.step % self.every == 0 and self.norms:
            training.log({"largest_gradient": max(self.norms)})
            self.norms.clear()
