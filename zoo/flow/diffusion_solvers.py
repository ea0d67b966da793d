"""Built-in solvers that step by data and noise, as diffusion models do: the path says how much of each there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from zoo.flow.base import Draw, Velocity
from zoo.flow.solvers import OnceAnUpdate, StepByStep
from zoo.paths import AffinePath, Mixture
from zoo.registry import part


@part("solver", "ddim")
class DDIMSolver(StepByStep, OnceAnUpdate):
    """DDIM without noise (arXiv 2010.02502), of first order: the data and noise of now, mixed as the next level has it.

    One evaluation an update, at noise levels ``(steps - k) / steps``, shifted; on the straight line it is ``euler``.

    Options:
        shift: of these noise levels; above 1, more of them are near noise.
    """

    def step(self, velocity: Velocity, z: Tensor, t: float, after: float, path: AffinePath) -> Tensor:
        """``alpha' data + sigma' noise`` for the next level's alpha' and sigma'."""
        here, v = path.at(t), velocity(z, t)
        return path.at(after).state(here.data(v, z), here.noise(v, z))


@part("solver", "dpmpp_2m")
class DPMPP2MSolver(OnceAnUpdate):
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2), of second order: the data are extended from the last two.

    One evaluation an update, at noise levels ``(steps - k) / steps``, shifted. First order where there is nothing to
    extend: in the first update, over a threshold, and to where no noise is left.

    Options:
        shift: of these noise levels; above 1, more of them are near noise.
    """

    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """Exact for the noise, and for data that change evenly in ``log(alpha / sigma)``."""
        z = noise
        before: tuple[float, Mixture, Tensor] | None = None
        for t, after in pairwise(self.ends(steps)):
            here, there = path.at(t), path.at(after)
            now = extended = here.data(velocity(z, t), z)
            if before is not None and there.sigma > 0 and not any(t <= each <= before[0] for each in thresholds):
                share = (_log_ratio(there) - _log_ratio(here)) / (_log_ratio(here) - _log_ratio(before[1])) / 2
                extended = now + share * (now - before[2])
            kept = there.sigma / here.sigma
            z = kept * z + (there.alpha - kept * here.alpha) * extended
            before = t, here, now
        return z


def _log_ratio(mixture: Mixture) -> float:
    return math.log(mixture.alpha / mixture.sigma) if mixture.alpha > 0 else -math.inf
