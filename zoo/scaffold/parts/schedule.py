"""A schedule: the learning rate over the steps."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

import zoo
from zoo.optim import Schedule


@zoo.part("schedule", "mine")
class MineSchedule(Schedule):
    """Example: ``1 / sqrt(1 + step / timescale)``, which falls for ever (Zhai et al., 2022, arXiv 2106.04560).

    Options:
        timescale: updates after which it has fallen to ``1 / sqrt(2)``.
    """

    def __init__(self, *, timescale: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000) -> None:
        self.timescale = timescale

    def factor(self, step: int, steps: int) -> float:
        """The update is counted after the warm-up."""
        return 1 / math.sqrt(1 + step / self.timescale)
