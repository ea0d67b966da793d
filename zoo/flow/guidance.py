"""Built-in guidance: where it applies, and classifier-free guidance."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.errors import OptionError
from zoo.flow.base import Guidance
from zoo.paths import AffinePath
from zoo.registry import part

Scale = Annotated[float, Field(ge=0.0)]
Scales = Scale | Annotated[tuple[Scale, ...], Field(min_length=1, max_length=64)]
"""One for all stages, or one for every stage, noisiest first."""

NoiseLevel = Annotated[float, Field(ge=0.0, le=1.0)]
Interval = tuple[NoiseLevel, NoiseLevel]
Channels = Annotated[int, Field(ge=1)] | None

EVERYWHERE = (0.0, 1.0)


class ScaledGuidance(Guidance):
    """Guidance with a scale for each stage, in an interval of noise levels and on the first so many channels.

    Args:
        stages: how many there are.
        latent: channels and size of the latents.
        scale: 1 is none, and costs nothing.
        interval: lowest and highest noise level that are guided, both included (arXiv 2404.07724).
        channels: how many of the latents' are guided; the others take the first velocity. None for all.

    Raises:
        OptionError: there are not as many scales as stages, or channels, or the interval is none.
    """

    def __init__(
        self,
        stages: int,
        latent: tuple[int, ...],
        *,
        scale: Scales = 1.0,
        interval: Interval = EVERYWHERE,
        channels: Channels = None,
    ) -> None:
        self.scales = scale if isinstance(scale, tuple) else (scale,) * stages
        self.interval, self.channels = interval, channels
        problems = []
        if len(self.scales) != stages:
            count = f"{len(self.scales)} scale{'s' * (len(self.scales) != 1)}"
            of = f"{stages} stage{'s' * (stages != 1)}"
            problems.append((("scale",), f"{count} for {of}; give one for every stage, noisiest first, or one"))
        if interval[0] > interval[1]:
            told = f"goes from lowest to highest noise level, not from {interval[0]} to {interval[1]}"
            problems.append((("interval",), told))
        if channels is not None and channels > latent[0]:
            told = f"{channels}, but the latents have {latent[0]}; make it less, or leave it out to guide all"
            problems.append((("channels",), told))
        if problems:
            raise OptionError(problems)
        self.is_none = all(scale == 1.0 for scale in self.scales)
        self.thresholds = () if self.is_none else interval

    def scale(self, stage: int, t: float) -> float:
        """1 outside of the interval."""
        return self.scales[stage] if self.interval[0] <= t <= self.interval[1] else 1.0

    def join(
        self,
        stage: int,
        t: float,
        first: Float[Tensor, "B C *size"],
        second: Float[Tensor, "B C *size"] | None,
        z: Float[Tensor, "B C *size"],
        path: AffinePath,
    ) -> Float[Tensor, "B C *size"]:
        """Guided in the first so many channels."""
        assert second is not None
        if self.channels is None:
            return self.guided(stage, t, first, second, z, path)
        k = self.channels
        own = self.guided(stage, t, first[:, :k], second[:, :k], z[:, :k], path)
        return torch.cat([own, first[:, k:]], dim=1)

    def guided(self, stage: int, t: float, first: Tensor, second: Tensor, z: Tensor, path: AffinePath) -> Tensor:
        """The velocity to follow, of channels that are all guided: the first, away from the second; see ``join``."""
        return second + self.scale(stage, t) * (first - second)


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Scalar products of samples [B, 1, ...], that go with them."""
    return (one * other).flatten(1).sum(dim=1).view(-1, *[1] * (one.ndim - 1))


@part("guidance", "classifier_free")
class ClassifierFreeGuidance(ScaledGuidance):
    """Classifier-free guidance: ``u + scale (c - u)``, c and u the velocities with and without the label.

    Ho and Salimans, arXiv 2207.12598.

    Options:
        scale: one for all stages, or one for every stage, noisiest first; 1 is none, and costs nothing.
        interval: lowest and highest noise level that are guided, both included (arXiv 2404.07724).
        channels: guide the first so many latent channels, as the published DiT, SiT and PPFlow do with 3 of 4; null for
            all.

    Raises:
        OptionError: they do not fit the stages or the latents.
    """
