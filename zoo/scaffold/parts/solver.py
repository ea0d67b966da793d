"""A solver: from noise to data along the velocity."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.flow import AffinePath, Draw, Solver, Velocity


@zoo.part("solver", "mine")
class MineSolver(Solver):
    """Example: two evaluations an update, the second somewhere on its way: of second order (Ralston, 1962).

    Options:
        at: where on its way: 1/2 is the midpoint method, 2/3 Ralston's, 1 Heun's.
    """

    def __init__(self, *, at: Annotated[float, Field(ge=0.25, le=1.0)] = 2 / 3) -> None:
        self.at = at

    def levels(self, steps: int) -> tuple[float, ...]:
        """Noise levels of all evaluations, in order."""
        return tuple(t for start, end in _updates(steps) for t in (start, self._inner(start, end)))

    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """From noise at t = 1 to data at t = 0."""
        z, share = noise, 1 / (2 * self.at)
        for start, end in _updates(steps):
            inner = self._inner(start, end)
            here = velocity(z, start)
            there = velocity(z - (start - inner) * here, inner)
            z = z - (start - end) * ((1 - share) * here + share * there)
        return z

    def _inner(self, start: float, end: float) -> float:
        return end if self.at == 1.0 else start - self.at * (start - end)


def _updates(steps: int) -> list[tuple[float, float]]:
    """Start and end of every update; fractions, so that 0.3 is met as 0.3."""
    return list(pairwise((steps - k) / steps for k in range(steps + 1)))
