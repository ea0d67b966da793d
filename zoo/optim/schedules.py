"""Built-in schedules of the learning rate."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from zoo.optim.base import Schedule
from zoo.registry import part


@part("schedule", "constant")
class ConstantSchedule(Schedule):
    """Always the same rate; a run may be made longer at any time."""

    def factor(self, step: int, steps: int) -> float:
        """1."""
        return 1.0


@part("schedule", "cosine")
class CosineSchedule(Schedule):
    """To zero along half a cosine: Loshchilov and Hutter, 2017 (arXiv 1608.03983, section 3), without restarts."""

    def factor(self, step: int, steps: int) -> float:
        """``(1 + cos(pi step / steps)) / 2``."""
        return 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


@part("schedule", "wsd")
class WSDSchedule(Schedule):
    """Warm-up, stable, decay: the same rate, and at last to zero (Hu et al., 2024, arXiv 2404.06395, section 4).

    Options:
        decay: share of the updates after the warm-up over which it falls.
        shape: how: in a line, or by ``1 - sqrt`` of the share done (Haegele et al., 2024, arXiv 2405.18392, section 3).
    """

    def __init__(
        self,
        *,
        decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2,
        shape: Literal["linear", "sqrt"] = "sqrt",
    ) -> None:
        self.decay, self.shape = decay, shape

    def factor(self, step: int, steps: int) -> float:
        """1 until ``(1 - decay) steps``, and then ``1 - x`` or ``1 - sqrt(x)``, x the share done of what is left."""
        stable = (1 - self.decay) * steps
        done = min(max(step - stable, 0.0) / (steps - stable), 1.0)
        return 1.0 - (math.sqrt(done) if self.shape == "sqrt" else done)
