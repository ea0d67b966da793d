"""Built-in solvers of fixed noise levels, without noise: they follow ``dz/dt = v(z, t)`` from t = 1 to t = 0."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from zoo.flow.base import Draw, Solver, Velocity
from zoo.paths import AffinePath
from zoo.registry import part


class OnceAnUpdate(Solver):
    """A solver that evaluates the velocity once an update, where that begins, and whose updates are of one length."""

    def levels(self, steps: int) -> tuple[float, ...]:
        """``1, (steps - 1) / steps, ..., 1 / steps``."""
        return even_levels(steps)[:-1]


@part("solver", "euler")
class EulerSolver(OnceAnUpdate):
    """Euler's method, of first order: one evaluation an update, at noise levels ``(steps - k) / steps``."""

    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """``z - h v(z, t)`` for each step of size h."""
        z = noise
        for t, after in pairwise(even_levels(steps)):
            z = z - (t - after) * velocity(z, t)
        return z


@part("solver", "heun")
class HeunSolver(Solver):
    """Heun's method, of second order: two evaluations an update, at both of its ends."""

    def levels(self, steps: int) -> tuple[float, ...]:
        """Both ends of every update: ``1, (steps - 1) / steps, (steps - 1) / steps, ..., 1 / steps, 0``."""
        return tuple(t for both in pairwise(even_levels(steps)) for t in both)

    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """A step of size h by the mean of the velocities at its start, and where Euler's step would end."""
        z = noise
        for t, after in pairwise(even_levels(steps)):
            h = t - after
            here = velocity(z, t)
            there = velocity(z - h * here, after)
            z = z - h / 2 * (here + there)
        return z


def even_levels(steps: int) -> tuple[float, ...]:
    """Noise levels from 1 to 0; each is the float nearest to the fraction, and so hits thresholds such as 0.3."""
    return tuple((steps - k) / steps for k in range(steps + 1))
