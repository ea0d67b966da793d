"""A callback: what is told how a run goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import zoo
from zoo.callbacks import Callback, Step, Training


@zoo.part("callback", "mine")
class MineCallback(Callback):
    """Example: how far plain gradient descent would move the weights in a step, as a figure in metrics.jsonl.

    A run that goes on makes a new object: what is to be remembered from step to step is in ``training.file(name)``.

    Options:
        every: steps between figures.
    """

    def __init__(self, *, every: Annotated[int, Field(ge=1, le=1_000_000)] = 100) -> None:
        self.every = every

    def step(self, training: Training, step: Step) -> None:
        """Figures are of single steps."""
        if step.step % self.every == 0 and not step.skipped:
            training.log({"gradient_step": step.learning_rate * step.grad_norm})
