"""Built-in solvers of fixed noise levels, without noise: they follow ``dz/dt = v(z, t)`` from t = 1 to t = 0."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from zoo.flow.base import Draw, Solver, Velocity
from zoo.flow.shift import Shift, shifted
from zoo.paths import AffinePath
from zoo.registry import part


class FixedSteps(Solver):
    """A solver whose updates lead from 1 to 0 by noise levels ``(steps - k) / steps``, shifted.

    Options:
        shift: of these noise levels; above 1, more of them are near noise.
    """

    def __init__(self, *, shift: Shift = 1.0) -> None:
        self.shift = shift

    def ends(self, steps: int) -> tuple[float, ...]:
        """Where the updates begin, and 0, where the last one ends: ``steps + 1`` noise levels."""
        # Each is the float nearest to the fraction, and so hits thresholds such as 0.3.
        even = (Fraction(steps - k, steps) for k in range(steps + 1))
        return tuple(map(float, shifted(even, Fraction(str(self.shift)))))


class StepByStep(FixedSteps):
    """A solver of steps, of which none knows of those before."""

    @abstractmethod
    def step(self, velocity: Velocity, z: Tensor, t: float, after: float, path: AffinePath) -> Tensor:
        """The state at noise level ``after``, from z at t."""

    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """One step after the other."""
        z = noise
        for t, after in pairwise(self.ends(steps)):
            z = self.step(velocity, z, t, after, path)
        return z


class OnceAnUpdate(FixedSteps):
    """A solver that evaluates the velocity once an update, where that begins."""

    def levels(self, steps: int) -> tuple[float, ...]:
        """Where the updates begin."""
        return self.ends(steps)[:-1]


@part("solver", "euler")
class EulerSolver(StepByStep, OnceAnUpdate):
    """Euler's method, of first order: one evaluation an update, at noise levels ``(steps - k) / steps``, shifted.

    Options:
        shift: of these noise levels; above 1, more of them are near noise.
    """

    def step(self, velocity: Velocity, z: Tensor, t: float, after: float, path: AffinePath) -> Tensor:
        """``z - h v(z, t)`` for a step of size h."""
        return z - (t - after) * velocity(z, t)


@part("solver", "heun")
class HeunSolver(StepByStep):
    """Heun's method, of second order: two evaluations an update, at both of its ends.

    Options:
        shift: of the noise levels ``(steps - k) / steps``, where updates begin and end; above 1, more of
            them are near noise.
    """

    def levels(self, steps: int) -> tuple[float, ...]:
        """Both ends of every update, and so all but 1 and 0 twice."""
        return tuple(t for both in pairwise(self.ends(steps)) for t in both)

    def step(self, velocity: Velocity, z: Tensor, t: float, after: float, path: AffinePath) -> Tensor:
        """By the mean of the velocities at its start, and where Euler's step would end."""
        h = t - after
        here = velocity(z, t)
        there = velocity(z - h * here, after)
        return z - h / 2 * (here + there)
