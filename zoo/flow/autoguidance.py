"""Guidance by a worse version of the weights."""

from __future__ import annotations

from zoo.flow.guidance import EVERYWHERE, Channels, Interval, ScaledGuidance, Scales
from zoo.registry import part
from zoo.signature import PathText


@part("guidance", "autoguidance")
class Autoguidance(ScaledGuidance):
    """Autoguidance: ``w + scale (v - w)``, w the velocity of worse weights for the same label.

    Karras et al., arXiv 2406.02507: those of a smaller backbone, or of less training, of the same data. It needs no
    label dropout, and no labels.

    Options:
        scale: one for all stages, or one for every stage, noisiest first; 1 is none, and costs nothing.
        interval: lowest and highest noise level that are guided, both included (arXiv 2404.07724).
        channels: guide the first so many latent channels; null for all.
        weights: a weight file of zoo's, or a run, whose averaged weights are taken, of any backbone of the same
            latents, normalised alike, and the same labels and path; ``zoo.sample`` is given the backbone itself.

    Raises:
        OptionError: they do not fit the stages or the latents.
    """

    second = "weights"

    def __init__(
        self,
        stages: int,
        latent: tuple[int, ...],
        *,
        scale: Scales = 1.0,
        interval: Interval = EVERYWHERE,
        channels: Channels = None,
        weights: PathText | None = None,
    ) -> None:
        super().__init__(stages, latent, scale=scale, interval=interval, channels=channels)
        self.weights = weights
