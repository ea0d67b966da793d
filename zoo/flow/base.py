"""What noise samplers, loss weightings, solvers and guidance promise.

Noise level t: 0 = data, 1 = pure noise; ``z_t = alpha(t) data + sigma(t) noise``, as the path says; velocity ``dz/dt``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

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


class Guidance(ABC):
    """How what a second prediction says changes the velocity. Constructor: ``(stages, latent, *, options)``, with the
    number of stages, and channels and size of the latents.

    A solver's evaluations go by it in their order. Each batch has a copy of its own of what has seen none, so that what
    it keeps in ``self`` is that batch's; but sample by sample, since none may know of another.

    Attributes:
        second: what it needs beside the velocity: ``null``, the one without label of the same weights; ``weights``,
            that of others; or None.
        weights: the file or run of these others, which zoo loads.
        is_none: whether its scale is 1 everywhere, since its options are as if it were not there.
        remembers: whether what it joins hangs on what it has seen before. No solver of adaptive steps goes with that,
            since it takes some of them back.
        thresholds: noise levels where what it does is not smooth, such as where it begins.
    """

    kind: ClassVar[str] = "guidance"
    second: ClassVar[Literal["null", "weights"] | None] = "null"
    weights: str | None = None
    is_none: bool = False
    remembers: bool = False
    thresholds: tuple[float, ...] = ()

    @abstractmethod
    def scale(self, stage: int, t: float) -> float:
        """How strongly a stage is guided at a noise level; where it is 1 the second does not run, nor ``join``."""

    @abstractmethod
    def join(
        self,
        stage: int,
        t: float,
        first: Float[Tensor, "B C *size"],
        second: Float[Tensor, "B C *size"] | None,
        z: Float[Tensor, "B C *size"],
        path: AffinePath,
    ) -> Float[Tensor, "B C *size"]:
        """The velocity to follow, in dtype and on the device of z.

        Args:
            stage: that the noise level is in, 0 = noisiest.
            t: the noise level.
            first: the velocity at z.
            second: the other one; None where none is needed.
            z: the state.
            path: whose velocities they are: ``path.at(t).data(velocity, z)`` is the data that one stands for.
        """
