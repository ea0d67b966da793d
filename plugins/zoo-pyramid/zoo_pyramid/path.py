"""Pyramidal Flow's path: straight lines from stage to stage, and jumps to latents of the next size.

A stage of noise levels b_high to b_low goes from noise s to noise e. With d its data, the mean of so many of the data's
pixels, n its noise, the same mean of the noise brought back to unit variance, and Up the nearest-neighbour enlargement
of the stage before:

    clean end   e n + (1 - e) d                 e = b_low
    noisy end   s n + (1 - s) Up(d_before)      s = 1 in the first stage

The clean end of the stage before, enlarged and multiplied by a, has noise a e that is the same over each block of k
pixels. Noise b n' of variance b^2 whose values in a block add up to zero, so that they covary by -b^2 / (k - 1), makes
it white of variance s^2 if

    a (1 - e) = 1 - s,    a^2 e^2 + b^2 = s^2,    a^2 e^2 = b^2 / (k - 1)

where e is the stage before's, which comes out as s = sqrt(k) e / (sqrt(k) e + 1 - e), a = s / (sqrt(k) e) and
b = s sqrt((k - 1) / k): in a plane, where k = 4, s = 2 e / (1 + e), a = 1 - s / 2 and b = sqrt(3) s / 2.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod, sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

import zoo
from zoo.flow import LinearPath

Grid = tuple[int, ...]


@zoo.part("path", "pyramid")
class PyramidPath(LinearPath):
    """Pyramidal Flow's, for stages of latents of growing sizes: a straight line in each, and a jump between.

    A stage's line ends at the noise level of its threshold, e, and the next one, on larger latents, begins at a higher
    one, ``2 e / (1 + e)`` in a plane. All sizes of a sample share one noise. The time embedder is fed a time in which
    the stages lie end to end, each as long as the noise that it takes away.

    Source: Jin et al., Pyramidal Flow Matching (arXiv 2410.05954), section 3.

    Options:
        renoising: what the jump adds to the enlarged state: ``correlated`` noise, which makes of it what the next stage
            was trained on; or ``none``, nothing, to compare. Training is the same with both.

    Raises:
        ValueError: no stage has latents of a size of its own, or sizes do not grow by whole numbers up to the data's.
    """

    resizes = True

    def __init__(
        self,
        ranges: tuple[tuple[float, float], ...],
        scales: tuple[Grid, ...],
        *,
        renoising: Literal["correlated", "none"] = "correlated",
    ) -> None:
        if set(scales[-1]) != {1}:
            raise ValueError("the last stage has a scale; let it be 1: the path ends at data of their own size")
        if all(set(scale) == {1} for scale in scales):
            raise ValueError(
                "no stage has a scale, and so there is no pyramid; take backbone.patch_schedule pyramid, or a scale in"
                " the stages of by_timestep or by_depth_and_timestep; or path linear"
            )
        self.growth: list[Grid] = [(1,) * len(scales[0])]
        for stage, (before, own) in enumerate(pairwise(scales), start=1):
            if any(a % b for a, b in zip(before, own, strict=True)):
                raise ValueError(
                    f"stage {stage} has scale {list(own)}, which does not divide that of the stage before,"
                    f" {list(before)}; let latents grow by whole numbers"
                )
            self.growth.append(tuple(a // b for a, b in zip(before, own, strict=True)))
        self.ranges, self.scales, self.renoising = ranges, scales, renoising
        self.noise_ends = [low for low, _ in ranges]
        self.noise_starts = [1.0, *map(noise_after, self.noise_ends[:-1], map(prod, self.growth[1:]))]
        lengths = [s - e for s, e in zip(self.noise_starts, self.noise_ends, strict=True)]
        self.shares = [length / sum(lengths) for length in lengths]

    def range(self, stage: int) -> tuple[float, float]:
        """A stage is a segment of its own."""
        return self.ranges[stage]

    def clock(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The share of all the noise that is taken away after t, stage by stage."""
        parts = (
            share * ((t - low) / (high - low)).clamp(0, 1)
            for share, (low, high) in zip(self.shares, self.ranges, strict=True)
        )
        return torch.stack(list(parts)).sum(dim=0).clamp(max=1)

    def noise_level(self, stage: int, u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """How much noise there is in the state of a stage at its own time u; the rest of one is data."""
        start, end = self.noise_starts[stage], self.noise_ends[stage]
        return end + (start - end) * u

    def snr(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The signal-to-noise ratio ``((1 - sigma) / sigma)^2`` of the stage's own noise, finite everywhere."""
        sigma = self.noise_level(0, self.own_time(0, t))
        for stage in range(1, len(self.ranges)):
            sigma = torch.where(t <= self.ranges[stage][1], self.noise_level(stage, self.own_time(stage, t)), sigma)
        return ((1 - sigma) / sigma.clamp(min=self.floor)).square()

    def ends(
        self, stage: int, data: Float[Tensor, "b C *size"], noise: Float[Tensor, "b C *size"]
    ) -> tuple[Float[Tensor, "b C *own"], Float[Tensor, "b C *own"]]:
        """Data and noise of the stage, as much of each as its line has where it ends and where it starts."""
        own, end, start = self._white(stage, noise), self.noise_ends[stage], self.noise_starts[stage]
        shrunk = smaller(data, self.scales[stage])
        clean = shrunk if end == 0 else end * own + (1 - end) * shrunk
        if stage == 0:
            return clean, own
        growth = self.growth[stage]
        return clean, start * own + (1 - start) * larger(smaller(shrunk, growth), growth)

    def begin(self, noise: Float[Tensor, "b C *size"]) -> Float[Tensor, "b C *own"]:
        """The noise of the first stage's size."""
        return self._white(0, noise)

    def jump(
        self, stage: int, z: Float[Tensor, "b C *before"], noise: Float[Tensor, "b C *size"]
    ) -> Float[Tensor, "b C *own"]:
        """``a Up(z) + b n'``, or ``Up(z)`` alone where nothing is added."""
        growth = self.growth[stage]
        count, grown = prod(growth), larger(z, growth)
        if self.renoising == "none" or count == 1:
            return grown
        start, white = self.noise_starts[stage], self._white(stage, noise)
        rest = sqrt(count / (count - 1)) * (white - larger(smaller(white, growth), growth))
        signal = (1 - start) / (1 - self.noise_ends[stage - 1])
        return signal * grown + start * sqrt((count - 1) / count) * rest

    def _white(self, stage: int, noise: Tensor) -> Tensor:
        scale = self.scales[stage]
        return sqrt(prod(scale)) * smaller(noise, scale)


def noise_after(end: float, count: int) -> float:
    """The noise that a stage starts with, where the one before ends with ``end`` and each pixel becomes ``count``."""
    return sqrt(count) * end / (sqrt(count) * end + 1 - end)


def smaller(x: Float[Tensor, "b C *size"], scale: Grid) -> Float[Tensor, "b C *own"]:
    """The mean of each block of so many pixels: bilinear halving where that is by two."""
    for axis, each in enumerate(scale, start=2):
        if each != 1:
            x = x.reshape(*x.shape[:axis], -1, each, *x.shape[axis + 1 :]).mean(dim=axis + 1)
    return x


def larger(x: Float[Tensor, "b C *size"], scale: Grid) -> Float[Tensor, "b C *own"]:
    """Each pixel so many times: the nearest neighbour's."""
    for axis, each in enumerate(scale, start=2):
        x = x if each == 1 else x.repeat_interleave(each, dim=axis)
    return x
