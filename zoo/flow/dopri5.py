"""The adaptive solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.errors import NumericError, ZooError
from zoo.flow.base import Draw, Solver, Velocity
from zoo.flow.precision import clock_dtype, just_above, just_below, widest_dtype
from zoo.paths import AffinePath
from zoo.registry import part

Tolerance = Annotated[float, Field(gt=0.0, le=0.1)]


@part("solver", "dopri5")
class Dopri5Solver(Solver):
    """Dormand and Prince's adaptive method of fifth order; ``steps`` is ignored. Needs torchdiffeq.

    Errors are measured over the whole batch, so that a sample depends a little, within the tolerance, on the others.
    The noise levels between two thresholds are solved for by themselves, since no method of high order gets over a
    jump: a step ends on each threshold, and evaluations near it stay on their side.

    Options:
        rtol: error that one step may make, relative to the latents.
        atol: error that one step may make besides.
    """

    def __init__(self, *, rtol: Tolerance = 1e-5, atol: Tolerance = 1e-5) -> None:
        self.rtol, self.atol = rtol, atol

    def levels(self, steps: int) -> None:
        """None: they depend on the data."""
        return

    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """Integrate from threshold to threshold, in float32 or wider.

        Raises:
            ZooError: torchdiffeq is not installed.
            NumericError: the velocity is not finite, or too rough for the tolerance.
        """
        z = noise.to(clock_dtype(noise.dtype))
        for high, low in pairwise([1.0, *thresholds, 0.0]):
            z = self._integrate(velocity, z, high, low)
        return z.to(noise.dtype)

    def _integrate(self, velocity: Velocity, z: Tensor, high: float, low: float) -> Tensor:
        odeint = _odeint()
        # Whichever stage a threshold belongs to, the next numbers on either side are certain.
        first = high if high == 1.0 else just_below(high, z.dtype)
        last = low if low == 0.0 else just_above(low, z.dtype)
        dtype = widest_dtype(z.device)
        ends = torch.tensor([high, low], dtype=dtype, device=z.device)
        try:
            path = odeint(
                lambda t, z: velocity(z, min(max(float(t), last), first)),
                z,
                ends,
                rtol=self.rtol,
                atol=self.atol,
                method="dopri5",
                options={"dtype": dtype, "step_t": ends[1:]},  # a step ends there, none goes beyond
            )
        except AssertionError as error:
            raise NumericError(f"dopri5 cannot go on between noise levels {high} and {low}: {error}") from error
        return path[-1]


def _odeint() -> Callable[..., Tensor]:
    try:
        return import_module("torchdiffeq").odeint
    except ModuleNotFoundError as error:
        raise ZooError(
            "the solver dopri5 needs torchdiffeq: `pip install torchdiffeq`, or take another solver"
        ) from error
