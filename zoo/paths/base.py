"""What a path promises, and all that follows from it: state, velocity, and one prediction from another.

Everywhere noise level t: 0 = data, 1 = noise; ``z_t = alpha(t) data + sigma(t) noise``; velocity ``dz/dt``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

Prediction = Literal["velocity", "noise", "data"]
"""What weights predict."""


class AffinePath(ABC):
    """How data turn into noise. Constructor: ``(ranges, scales, *, options)``: the noise levels ``(low, high)`` of each
    stage, noisiest first, and by how much its latents are smaller on each axis. Who writes ``alpha`` and ``sigma`` has
    all the rest.

    Sampling starts from standard normal noise at t = 1, so that the state there should have about unit variance.

    A path may go in segments, each solved by itself: stages of one ``range`` share one. Then ``alpha`` and ``sigma``
    are of a segment's own time u, 0 at its clean end and 1 at its noisy one, the state is ``alpha(u) clean + sigma(u)
    noisy`` of what ``ends`` says these are, the velocity is ``dz/du``, and ``jump`` leads from one segment to the next.

    Attributes:
        resizes: whether the stages' latents may have sizes of their own; ``ends`` and ``jump`` go between these.
        floor: what is divided by is taken as at least this, since alpha may be 0 at t = 1, and sigma at t = 0; and
            rates of change are taken at t of at least this, since a square root has none at 0.
    """

    kind: ClassVar[str] = "path"
    resizes: ClassVar[bool] = False
    floor: ClassVar[float] = 1e-3

    @abstractmethod
    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """How much data is in the state at noise levels t in [0, 1], float64; above 0 but for t = 1."""

    @abstractmethod
    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """How much noise is in the state at noise levels t in [0, 1], float64; ``sigma / alpha`` rises with t."""

    def rates(self, t: Float[Tensor, "*shape"]) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        """Derivatives of alpha and sigma by t, float64; by automatic differentiation, unless a path knows better."""
        return _derivative(self.alpha, t), _derivative(self.sigma, t)

    def clock(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """What the time embedder is fed at noise levels t. Keeps t's dtype and device."""
        return t

    def range(self, stage: int) -> tuple[float, float]:
        """The noise levels ``(low, high)`` of the segment that a stage is in."""
        return 0.0, 1.0

    def ends(
        self, stage: int, data: Float[Tensor, "b C *size"], noise: Float[Tensor, "b C *size"]
    ) -> tuple[Float[Tensor, "b C *own"], Float[Tensor, "b C *own"]]:
        """What the state is mixed of in a stage, clean and noisy, both of the stage's size; from data and standard
        normal noise of the data's size."""
        return data, noise

    def begin(self, noise: Float[Tensor, "b C *size"]) -> Float[Tensor, "b C *own"]:
        """The state that sampling starts from at t = 1, from standard normal noise of the data's size."""
        return noise

    def jump(
        self, stage: int, z: Float[Tensor, "b C *before"], noise: Float[Tensor, "b C *size"]
    ) -> Float[Tensor, "b C *own"]:
        """The state at the noisy end of a stage's segment, from that at the clean end of the segment before.

        Args:
            stage: the first of its segment, not of the whole.
            z: the state, of the size of the stage before.
            noise: standard normal, of the data's size, that nothing has seen before.
        """
        return z

    def own_time(self, stage: int, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time in [0, 1] of a stage's segment at noise levels t; t itself where one segment is the whole."""
        low, high = self.range(stage)
        if (low, high) == (0.0, 1.0):
            return t
        return ((_exact(t) - low) / (high - low)).clamp(0, 1).to(t)

    def of_stage(self, stage: int) -> AffinePath:
        """The path as a stage goes along it, by noise level: velocities are still by the segment's own time."""
        return self if self.range(stage) == (0.0, 1.0) else _OfStage(self, stage)

    def at(self, t: float) -> Mixture:
        """The mixture of data and noise at a noise level, in plain numbers."""
        return self._mixture(torch.tensor(t, dtype=torch.float64), float)

    def along(self, t: Float[Tensor, " B"], samples: Float[Tensor, "B ..."]) -> Mixture:
        """The mixtures at the noise levels of samples, which they go with, in float32 or wider."""
        dtype, shape = torch.promote_types(samples.dtype, torch.float32), (-1, *[1] * (samples.ndim - 1))
        return self._mixture(_exact(t), lambda values: values.to(samples.device, dtype).view(shape))

    def snr(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The signal-to-noise ratio ``(alpha / sigma)^2``, finite everywhere. Keeps t's dtype and device."""
        exact = _exact(t)
        return (self.alpha(exact) / self.sigma(exact).clamp(min=self.floor)).square().to(t)

    def _mixture(self, t: Tensor, as_wanted: Callable[[Tensor], Any]) -> Mixture:
        alpha, sigma = self.alpha(t), self.sigma(t)
        values = (alpha, sigma, *self.rates(t.clamp(min=self.floor)))
        divisors = (each.clamp(min=self.floor) for each in (alpha, sigma))
        return Mixture(*map(as_wanted, (*values, *divisors)))


@dataclass(frozen=True)
class Mixture:
    """Data and noise at a noise level: plain numbers, or tensors [B, 1, ...] that go with samples.

    Attributes:
        alpha: how much data there is.
        sigma: how much noise.
        alpha_rate: derivative of alpha by t.
        sigma_rate: derivative of sigma by t.
        alpha_divisor: alpha, where it is divided by.
        sigma_divisor: sigma, where it is divided by.
    """

    alpha: Any
    sigma: Any
    alpha_rate: Any
    sigma_rate: Any
    alpha_divisor: Any
    sigma_divisor: Any

    def state(self, data: Tensor, noise: Tensor) -> Tensor:
        """``alpha data + sigma noise``."""
        return self.alpha * data + self.sigma * noise

    def velocity(self, data: Tensor, noise: Tensor) -> Tensor:
        """``alpha' data + sigma' noise``."""
        return self.alpha_rate * data + self.sigma_rate * noise

    def target(self, prediction: Prediction, data: Tensor, noise: Tensor) -> Tensor:
        """What weights should predict."""
        return {"data": data, "noise": noise}[prediction] if prediction != "velocity" else self.velocity(data, noise)

    def velocity_from(self, prediction: Prediction, predicted: Tensor, z: Tensor) -> Tensor:
        """The velocity at z that a prediction stands for."""
        if prediction == "noise":
            return self.velocity((z - self.sigma * predicted) / self.alpha_divisor, predicted)
        if prediction == "data":
            return self.velocity(predicted, (z - self.alpha * predicted) / self.sigma_divisor)
        return predicted

    def data(self, velocity: Tensor, z: Tensor) -> Tensor:
        """The data that a velocity at z stands for."""
        return (self.sigma_rate * z - self.sigma * velocity) / self.turn

    def noise(self, velocity: Tensor, z: Tensor) -> Tensor:
        """The noise that a velocity at z stands for; ``-noise / sigma`` is the score."""
        return (self.alpha * velocity - self.alpha_rate * z) / self.turn

    @property
    def turn(self) -> Any:
        """``alpha sigma' - sigma alpha'``: above 0, since sigma / alpha rises; 1 on the straight line."""
        return self.alpha * self.sigma_rate - self.sigma * self.alpha_rate


class _OfStage(AffinePath):
    def __init__(self, whole: AffinePath, stage: int) -> None:
        self.whole, self.stage = whole, stage

    def alpha(self, t: Tensor) -> Tensor:
        return self.whole.alpha(self.whole.own_time(self.stage, t))

    def sigma(self, t: Tensor) -> Tensor:
        return self.whole.sigma(self.whole.own_time(self.stage, t))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.whole.rates(self.whole.own_time(self.stage, t))


def _exact(t: Tensor) -> Tensor:
    """Noise levels in float64, which Apple's GPUs have not."""
    return (t.cpu() if t.device.type == "mps" else t).double()


def _derivative(function: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    # Backwards, as each value hangs on its own t alone: torch.func.jvp takes fifteen times as long.
    with torch.inference_mode(False), torch.enable_grad():
        t = t.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad((function(t) + 0 * t).sum(), t)  # 0 t, since a function may be constant
    return slope
