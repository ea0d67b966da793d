"""Classifier-free guidance whose unconditional velocity is scaled as it fits best."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.flow.guidance import EVERYWHERE, Channels, Interval, NoiseLevel, ScaledGuidance, Scales, dot
from zoo.paths import AffinePath
from zoo.registry import part


@part("guidance", "cfg_zero")
class CFGZeroGuidance(ScaledGuidance):
    """CFG-Zero*: ``s u + scale (c - s u)``, with the s of each sample that brings ``s u`` nearest to c.

    Fan et al., arXiv 2503.18886: c and u are the velocities with and without the label, and ``s = <c, u> / |u|^2``.
    Where weights are little trained, the velocity of the noisiest levels is worse than none, and may be left out.

    Options:
        scale: one for all stages, or one for every stage, noisiest first; 1 is none, and costs nothing.
        interval: lowest and highest noise level that are guided, both included (arXiv 2404.07724).
        channels: guide the first so many latent channels; null for all.
        zero_above: the velocity is 0 at noise levels above: 0.96 leaves out the first 4 % of a solver's steps, as the
            paper does; by 1 there are none such.

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
        zero_above: NoiseLevel = 1.0,
    ) -> None:
        super().__init__(stages, latent, scale=scale, interval=interval, channels=channels)
        self.zero_above = zero_above
        self.is_none = self.is_none and zero_above == 1.0
        self.thresholds = (*self.thresholds, zero_above)

    def scale(self, stage: int, t: float) -> float:
        """0 where the velocity is, and 1 outside of the interval."""
        return 0.0 if t > self.zero_above else super().scale(stage, t)

    def join(self, stage: int, t: float, first: Tensor, second: Tensor | None, z: Tensor, path: AffinePath) -> Tensor:
        """0 above, in all channels."""
        return torch.zeros_like(first) if t > self.zero_above else super().join(stage, t, first, second, z, path)

    def guided(self, stage: int, t: float, first: Tensor, second: Tensor, z: Tensor, path: AffinePath) -> Tensor:
        """Away from the velocity without the label."""
        nearest = dot(first, second) / dot(second, second).clamp(min=torch.finfo(second.dtype).tiny) * second
        return nearest + self.scale(stage, t) * (first - nearest)
