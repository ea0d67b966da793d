"""Adaptive projected guidance."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from zoo.flow.guidance import EVERYWHERE, Channels, Interval, ScaledGuidance, Scales, dot
from zoo.paths import AffinePath
from zoo.registry import part


@part("guidance", "apg")
class AdaptiveProjectedGuidance(ScaledGuidance):
    """Adaptive projected guidance: classifier-free guidance without what makes colours garish at high scales.

    Sadat et al., arXiv 2410.02416, algorithm 1. With D the data that a velocity stands for, the difference ``D(c) -
    D(u)`` of the predictions with and without the label is joined with what is remembered of those before, cut to a
    length, and split into what is parallel to D(c) and the rest. ``scale - 1`` times the rest, and ``eta`` of the
    parallel, is added to D(c).

    Options:
        scale: one for all stages, or one for every stage, noisiest first; 1 is none, and costs nothing.
        interval: lowest and highest noise level that are guided, both included (arXiv 2404.07724).
        channels: guide the first so many latent channels; null for all.
        eta: how much of the parallel is added; by 1, and without the other two, it is classifier-free guidance.
        norm_threshold: longest that a sample's difference may be; null for any.
        momentum: how much of the last difference is added to the next, evaluation by evaluation; below 0 it takes away
            what they have in common.

    Raises:
        OptionError: they do not fit the stages or the latents.
    """

    def __init__(
        self,
        stages: int,
        latent: tuple[int, ...],
        *,
        scale: Scales = 1.0,
        interval: Interval = EVERYWHERE,
        channels: Channels = None,
        eta: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0,
        norm_threshold: Annotated[float, Field(gt=0.0)] | None = None,
        momentum: Annotated[float, Field(gt=-1.0, lt=1.0)] = -0.5,
    ) -> None:
        super().__init__(stages, latent, scale=scale, interval=interval, channels=channels)
        self.eta, self.norm_threshold, self.momentum = eta, norm_threshold, momentum
        self.remembers = momentum != 0.0
        self.difference: Tensor | None = None  # of the data, with what is remembered

    def guided(self, stage: int, t: float, first: Tensor, second: Tensor, z: Tensor, path: AffinePath) -> Tensor:
        """The velocity of the guided data.

        The data are the state's share less ``unit`` times the velocity, so that a difference of velocities is one of
        data divided by ``-unit``: nothing else need be divided by the noise, of which there may be none.
        """
        at = path.at(t)
        unit, data = at.sigma / at.turn, at.data(first, z)
        towards = first - second
        if self.remembers and unit > 0:
            before = 0.0 if self.difference is None else self.momentum * self.difference
            self.difference = before - unit * towards
            towards = self.difference / -unit
        if self.norm_threshold is not None:
            length = unit * dot(towards, towards).sqrt()
            towards = towards * (self.norm_threshold / length.clamp(min=self.norm_threshold))
        parallel = dot(towards, data) / dot(data, data).clamp(min=torch.finfo(data.dtype).tiny) * data
        return first + (self.scale(stage, t) - 1) * (towards - (1 - self.eta) * parallel)
