"""The solver of the stochastic differential equation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.flow.base import Draw, Solver, Velocity
from zoo.flow.shift import Shift, shifted
from zoo.paths import AffinePath, Mixture
from zoo.registry import part

Diffusion = Literal["constant", "sbdm", "sigma", "linear", "decreasing", "increasing_decreasing"]


@part("solver", "euler_maruyama")
class EulerMaruyamaSolver(Solver):
    """The Euler-Maruyama method for the SDE of SiT (arXiv 2401.08740, section 2).

    The velocity and the path tell the mean of the noise given z, and so ``score(z) = -E[noise | z] / sigma``; on the
    straight line that is ``-(z + (1 - t) v) / t``. For any rate ``D(t) >= 0``, the
    equation ``dz = (-v + D score) ds + sqrt(2 D) dW``, with ``s = 1 - t`` running from noise to data, has the same
    distribution at every t as the flow ``dz = -v ds``: in its Fokker-Planck equation, both terms of D cancel. (The
    paper writes ``w = 2 D``; ``norm`` is that of the published sampler.)

    The score is singular where sigma is 0, where it is never evaluated: ``steps - 1`` updates lead from t = 1 to
    ``last_step_size``, and a last one without noise to t = 0.

    Options:
        diffusion: D(t), as the published sampler names its forms, turned to our clock:
            constant: ``norm``; sbdm: ``norm * (sigma sigma' - sigma^2 alpha' / alpha)``, the reverse of the noising
            process, where alpha is taken as at least the size of the step (on the line: ``norm * t / (1 - t)``);
            sigma: ``norm * sigma(t)``; linear: ``norm * t``;
            decreasing: ``(1 - norm * cos(pi t))^2 / 4``; increasing_decreasing: ``norm * sin(pi t)^2``.
        norm: scale of D; 0 leaves the flow alone (but for ``decreasing``).
        last_step: ``mean`` leaves out the noise of the last step alone, ``euler`` is a step of the flow, and
            ``tweedie`` goes to ``E[data | z]``, which on the straight line is that same step, ``z - t v``.
        last_step_size: noise level that the last step starts from, shifted or not.
        shift: of the noise levels between 1 and that one; 1 leaves them evenly apart, and
            above more of them are near noise.
    """

    def __init__(
        self,
        *,
        diffusion: Diffusion = "sigma",
        norm: Annotated[float, Field(ge=0.0)] = 1.0,
        last_step: Literal["mean", "euler", "tweedie"] = "mean",
        last_step_size: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.04,
        shift: Shift = 1.0,
    ) -> None:
        self.diffusion, self.norm, self.last_step, self.last_step_size = diffusion, norm, last_step, last_step_size
        self.shift = shift

    def levels(self, steps: int) -> tuple[float, ...]:
        """From 1 to ``last_step_size``, which are the shift of even ones; 1 alone for one step."""
        if steps == 1:
            return (1.0,)
        shift = Fraction(str(self.shift))
        # Exact, so that thresholds are hit where they can be.
        (last,) = shifted([Fraction(str(self.last_step_size))], 1 / shift)
        even = (last + (1 - last) * Fraction(steps - 1 - k, steps - 1) for k in range(steps))
        return tuple(map(float, shifted(even, shift)))

    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """``steps`` updates, the last of them without noise."""
        z, levels = noise, self.levels(steps)
        for k, (t, after) in enumerate(pairwise(levels)):
            h = t - after
            mixture = path.at(t)
            rate = self.rate(mixture, t, h)
            z = z - h * _drift(z, velocity(z, t), mixture, rate) + math.sqrt(2 * rate * h) * draw(k)
        t = levels[-1]
        mixture, v = path.at(t), velocity(z, t)
        if self.last_step == "tweedie":
            end = path.at(0.0)
            return end.state(mixture.data(v, z), mixture.noise(v, z))
        return z - t * _drift(z, v, mixture, self.rate(mixture, t, t) if self.last_step == "mean" else 0.0)

    def rate(self, mixture: Mixture, t: float, h: float) -> float:
        """D at noise level t, for a step of size h."""
        forms: dict[Diffusion, float] = {
            "constant": self.norm,
            "sbdm": self.norm * mixture.sigma * mixture.turn / max(mixture.alpha, h),
            "sigma": self.norm * mixture.sigma,
            "linear": self.norm * t,
            "decreasing": (1 - self.norm * math.cos(math.pi * t)) ** 2 / 4,
            "increasing_decreasing": self.norm * math.sin(math.pi * t) ** 2,
        }
        return forms[self.diffusion]


def _drift(z: Tensor, v: Tensor, mixture: Mixture, rate: float) -> Tensor:
    """``v - D score``, with ``score = -noise / sigma``."""
    return v + rate / mixture.sigma_divisor * mixture.noise(v, z)
