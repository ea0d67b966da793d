"""What noise samplers, loss weightings and solvers promise.

Noise level t: 0 = data, 1 = pure noise; ``z_t = alpha(t) data + sigma(t) noise``, as the path says; velocity ``dz/dt``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from zoo.paths import AffinePath

Velocity = Callable[[Tensor, float], Tensor]
"""``velocity(z [B,C,*size], t) -> [B,C,*size]``: the (guided) velocity of a batch at one noise level."""

Draw = Callable[[int], Tensor]
"""``draw(k) -> [B,C,*size]``: standard normal noise of update k, the same for a sample whoever else is in its batch;
with dtype and device of the noise that sampling starts from."""


class NoiseSampler(ABC):
    """The distribution that training draws noise levels from, by its quantiles, so that it can be stratified.

    Constructor: ``(*, options)``.
    """

    kind: ClassVar[str] = "noise_sampler"

    @abstractmethod
    def quantile(self, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Noise levels in [0, 1] at probabilities u in [0, 1]: the inverse of ``cdf``. Keeps u's dtype and device."""

    @abstractmethod
    def cdf(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The probability of a noise level of at most t in [0, 1]; 0 at 0 and 1 at 1. Keeps t's dtype and device."""


class Weighting(ABC):
    """How much the squared error of the prediction counts at a noise level. Constructor: ``(*, options)``."""

    kind: ClassVar[str] = "weighting"

    @abstractmethod
    def weight(self, t: Float[Tensor, " B"], snr: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Finite, non-negative weights [B] at noise levels t in [0, 1]. Keeps t's dtype and device.

        Args:
            t: noise levels.
            snr: the path's signal-to-noise ratio ``(alpha / sigma)^2`` there, finite, of the same dtype and device.
        """


class Solver(ABC):
    """How samples get from noise (t = 1) to data (t = 0). Constructor: ``(*, options)``."""

    kind: ClassVar[str] = "solver"

    @abstractmethod
    def levels(self, steps: int) -> tuple[float, ...] | None:
        """Noise levels of all velocity evaluations of ``steps`` updates, in order, repeats included.

        None where they depend on the data (an adaptive solver).
        """

    @abstractmethod
    def solve(
        self,
        velocity: Velocity,
        noise: Float[Tensor, "B C *size"],
        steps: int,
        path: AffinePath,
        draw: Draw,
        thresholds: Sequence[float] = (),
    ) -> Float[Tensor, "B C *size"]:
        """Follow the flow from noise at t = 1 to data at t = 0, in ``steps`` updates.

        Args:
            velocity: evaluated at the noise levels that ``levels`` tells, in that order.
            noise: standard normal [B, C, *size].
            steps: updates; an adaptive solver chooses its own.
            path: whose velocity it is: ``path.at(t)`` tells alpha and sigma, and data and noise by the velocity.
            draw: noise of an update, for solvers that add some: each k in [0, steps) at most once.
            thresholds: noise levels inside (0, 1) where the velocity is not smooth (stages or guidance change),
                noisiest first; one on a threshold belongs to the side that the backbone says. For solvers
                that are adaptive, or extend what they have seen before.
        """
