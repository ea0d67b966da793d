"""What noise samplers, loss weightings, losses, solvers and guidance promise.

Noise level t: 0 = data, 1 = pure noise; ``z_t = alpha(t) data + sigma(t) noise``, as the path says; velocity ``dz/dt``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo.labels import Labels
from zoo.parts.module_part import ModulePart
from zoo.parts.values import Tap
from zoo.paths import AffinePath, Mixture, Prediction

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
    """How much the loss counts at a noise level. Constructor: ``(*, options)``."""

    kind: ClassVar[str] = "weighting"

    @abstractmethod
    def weight(self, t: Float[Tensor, " B"], snr: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Finite, non-negative weights [B] at noise levels t in [0, 1]. Keeps t's dtype and device.

        Args:
            t: noise levels.
            snr: the path's signal-to-noise ratio ``(alpha / sigma)^2`` there, finite, of the same dtype and device.
        """


@dataclass(frozen=True)
class LossInputs:
    """Samples of one stage, and what the weights predict of them; in float32 or wider, also under autocast.

    Attributes:
        stage: its index, 0 = noisiest.
        data: latents; on a path that goes in segments, the clean end of the stage's.
        noise: standard normal; there, the noisy end.
        t: noise levels, 0 = data, 1 = pure noise.
        z: the state, ``alpha(t) data + sigma(t) noise``, as the backbone is given it; there, at the segment's own time.
        prediction: what the weights predict, in a space of their own.
        space: which that is: velocity, noise or data.
        mixture: alpha and sigma there, and one prediction from another.
        labels: what the class conditioner is given, some of them dropped.
        taps: what blocks that the loss asks for returned, by index; under autocast in float32.
        extra: what else the dataset gives of each sample, by name, of what the loss asks for.
    """

    stage: int
    data: Float[Tensor, "b C *size"]
    noise: Float[Tensor, "b C *size"]
    t: Float[Tensor, " b"]
    z: Float[Tensor, "b C *size"]
    prediction: Float[Tensor, "b C *size"]
    space: Prediction
    mixture: Mixture
    labels: Labels | None = None
    taps: Mapping[int, Tap] = field(default_factory=dict)
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def kept(self) -> Bool[Tensor, "b N"] | None:
        """Which image tokens a router has left in, as a tap inside its route tells; None where no tap does."""
        for tap in self.taps.values():
            if tap.index is not None:
                none = torch.zeros(len(tap.index), prod(tap.grid), dtype=torch.bool, device=tap.index.device)
                return none.scatter(1, tap.index, True)
        return None

    @cached_property
    def target(self) -> Float[Tensor, "b C *size"]:
        """What the weights should predict, in their own space."""
        return self.target_velocity if self.space == "velocity" else self._target(self.space)

    @cached_property
    def velocity(self) -> Float[Tensor, "b C *size"]:
        """The velocity that the prediction stands for."""
        return self.mixture.velocity_from(self.space, self.prediction, self.z)

    @cached_property
    def target_velocity(self) -> Float[Tensor, "b C *size"]:
        """What it should be."""
        return self._target("velocity")

    def _target(self, space: Prediction) -> Tensor:
        return self.mixture.target(space, self.data, self.noise)


class Loss(ModulePart, ABC):
    """A term of the loss. Constructor: ``(block_dims, channels, axes, *, options)``, the width of every block first.

    It may have weights of its own: they are trained, saved and taken up again with the backbone's, and are neither
    averaged nor part of what is exported. It is called once a stage, under autocast where training is. It does not call
    the backbone: there is one pass a step. Nor does it change what it is given, as other losses are given it too.

    Attributes:
        weighted: whether the ``weighting`` of noise levels applies.
        routed: whether it asks which tokens a router leaves out: a recipe is refused where it taps no block of a route.
        taps: blocks whose outputs it is given, counted from 0; a constructor may set it by its options.
        extra: names of what else it is given of each sample; the dataset has to give it.
    """

    kind = "loss"
    weighted: bool = True
    routed: bool = False
    taps: tuple[int, ...] = ()
    extra: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, inputs: LossInputs) -> Float[Tensor, " b"]:
        """What is minimised [b], of each sample by itself, in float32 or wider."""

    def example_extra(self, batch: int, size: tuple[int, ...]) -> Mapping[str, Tensor]:
        """Some of what it asks for, as a dataset may give it for latents of ``size``: what its laws are tried with, and
        what memory is estimated with. A loss that names ``extra`` has one."""
        return {}


class Solver(ABC):
    """How samples get from noise (t = 1) to data (t = 0). Constructor: ``(*, options)``."""

    kind: ClassVar[str] = "solver"

    @abstractmethod
    def levels(self, steps: int) -> tuple[float, ...] | None:
        """Noise levels of all velocity evaluations of ``steps`` updates, in order, repeats included; 1 first. They may
        rise in between, where noise is added (EDM's stochastic sampler).

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
