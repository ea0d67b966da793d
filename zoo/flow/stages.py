"""Noise levels stratified by stage, so that every rank gets samples of every stage and the loss stays unbiased.

A group of G consecutive samples of the global batch holds n_s >= 1 samples of each stage s, in a fixed pattern that
repeats every G samples. Where noise levels fall into stage s with probability mass_s, its samples weigh
``mass_s * G / n_s``; the mean over the batch of weight times loss then has the expectation of plain sampling. Inside a
stage, the samples of the whole global batch share its probability out among them, one to each equal part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.flow.base import NoiseSampler, Weighting
from zoo.flow.precision import clock_dtype, just_above, just_below
from zoo.paths import AffinePath
from zoo.schedule import StageShape, noise_ranges

MAX_WEIGHT = 1.25
"""A group is long enough when no weight is above this, or below one over this."""
MAX_GROUP = 64


@dataclass(frozen=True)
class StagePlan:
    """Which samples of a batch belong to which stage, and how their noise levels are drawn.

    Attributes:
        ranges: noise levels (low, high) of every stage, noisiest first.
        ties: the stage that a noise level on a threshold belongs to.
        sampler: the distribution of noise levels.
        counts: samples n_s of every stage in a group.
        lows: probability of a noise level below each stage.
        masses: probability of each stage.
    """

    ranges: tuple[tuple[float, float], ...]
    ties: Literal["cleaner", "noisier"]
    sampler: NoiseSampler
    counts: tuple[int, ...]
    lows: tuple[float, ...]
    masses: tuple[float, ...]

    @property
    def group(self) -> int:
        """Samples G after which the pattern of stages repeats."""
        return sum(self.counts)

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of a sample of each stage in the loss."""
        return tuple(mass * self.group / count for mass, count in zip(self.masses, self.counts, strict=True))

    @property
    def pattern(self) -> tuple[int, ...]:
        """The stage of each sample of a group."""
        return tuple(stage for stage, count in enumerate(self.counts) for _ in range(count))

    def stage_of(self, index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """The stage of the samples at positions ``index`` of the global batch."""
        return torch.tensor(self.pattern, device=index.device)[index % self.group]

    def noise_levels(
        self, index: Int[Tensor, " b"], batch: int, u: Float[Tensor, " b"], dtype: torch.dtype = torch.float32
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Noise levels and loss weights of some samples of a global batch.

        Every noise level is where ``Backbone.stage_of`` sees the sample's stage, in the precision of ``dtype``.

        Args:
            index: positions of the samples in the global batch, int64 in [0, batch).
            batch: samples of the global batch, a multiple of ``group``.
            u: uniform in [0, 1), float64; says where in its part of the probability each sample is.
            dtype: of the noise levels.

        Returns:
            Noise levels in ``dtype``, and weights in ``dtype`` or float32, whichever is wider; on the index's device.

        Raises:
            ValueError: the batch is no multiple of the group, or a stage holds no number of this dtype.
        """
        if batch % self.group:
            raise ValueError(
                f"a batch of {batch} is not divisible into groups of {self.group} samples (stage_group); make it a"
                " multiple"
            )
        stage = self.stage_of(index)

        def own(values: Sequence[int] | Sequence[float], dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=index.device)[stage]

        counts, first = own(self.counts, torch.int64), own([0, *accumulate(self.counts)][:-1], torch.int64)
        rank = index // self.group * counts + index % self.group - first
        share = (rank + u) / (batch // self.group * counts)
        # Round-off must not carry the probability above 1, where no quantile is.
        probability = (own(self.lows) + own(self.masses) * share).clamp(max=1.0)
        lowest, highest = zip(*self._bounds(dtype), strict=True)
        t = self.sampler.quantile(probability).to(dtype)
        return t.clamp(own(lowest, dtype), own(highest, dtype)), own(self.weights, clock_dtype(dtype))

    def _bounds(self, dtype: torch.dtype) -> list[tuple[float, float]]:
        """The smallest and the largest number of every stage: each has the end that ``ties`` gives it, and 0 and 1."""
        bounds = []
        for stage, (low, high) in enumerate(self.ranges):
            if self.ties == "cleaner" and stage < len(self.ranges) - 1:
                low = just_above(low, dtype)
            if self.ties == "noisier" and stage > 0:
                high = just_below(high, dtype)
            if torch.tensor(low, dtype=dtype) > torch.tensor(high, dtype=dtype):
                raise ValueError(
                    f"stage {stage}, of noise levels {self.ranges[stage]}, holds no number of {dtype}; widen the stage"
                )
            bounds.append((low, high))
        return bounds


@dataclass(frozen=True)
class NoiseLevels:
    """Draws noise levels of training: which samples are of which stage, and how much each counts.

    Attributes:
        plan: of the stages.
        weighting: of noise levels.
        path: whose signal-to-noise ratio it is told.
        dtype: of the noise levels.
    """

    plan: StagePlan
    weighting: Weighting
    path: AffinePath
    dtype: torch.dtype = torch.float32

    def by_stage(self, places: Iterable[int]) -> list[list[int]]:
        """The places in the global batch that are of each stage, noisiest first."""
        of_stage: list[list[int]] = [[] for _ in self.plan.counts]
        for place in places:
            of_stage[self.plan.pattern[place % self.plan.group]].append(place)
        return of_stage

    def draw(
        self, places: Int[Tensor, " b"], batch: int, u: Float[Tensor, " b"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Noise levels, what keeps the loss unbiased, and that times the weighting; ``StagePlan.noise_levels`` says of
        what."""
        t, share = self.plan.noise_levels(places, batch, u, self.dtype)
        return t, share, share * self.weighting.weight(t, self.path.snr(t))


def plan_stages(
    stages: Sequence[StageShape],
    ties: Literal["cleaner", "noisier"],
    sampler: NoiseSampler,
    group: int | None = None,
) -> StagePlan:
    """Share the samples of a batch out among the stages.

    Args:
        stages: from noisy to clean.
        ties: the stage that a noise level on a threshold belongs to.
        sampler: the distribution of noise levels.
        group: samples G after which the pattern of stages repeats. If left out: the smallest power of two at which all
            weights are in [0.8, 1.25], or the one up to 64 that comes nearest; it depends on nothing but the recipe.

    Raises:
        ValueError: a group has no room for all stages, or the sampler never draws from one of them.
    """
    ranges = noise_ranges(stages)
    ends = torch.tensor(ranges, dtype=torch.float64)
    below = sampler.cdf(ends)
    masses = tuple((below[:, 1] - below[:, 0]).tolist())
    for stage, mass in enumerate(masses):
        if not mass > 0:
            low, high = ranges[stage]
            raise ValueError(
                f"the noise sampler never draws a noise level of stage {stage}, between {low} and {high}:"
                f" its probability is {mass}; change the sampler's options or the stages"
            )
    if group is None:
        group = _choose_group(masses)
    elif group < len(stages):
        raise ValueError(f"a group of {group} samples has no room for {len(stages)} stages; make stage_group larger")
    return StagePlan(ranges, ties, sampler, _counts(masses, group), tuple(below[:, 0].tolist()), masses)


def _counts(masses: Sequence[float], group: int) -> tuple[int, ...]:
    """Samples of every stage: one each, and the rest one by one to the stage that is farthest below its share.

    This is the method of largest remainders, with at least one sample for all.
    """
    counts = [1] * len(masses)
    for _ in range(group - len(masses)):
        # Rounded, so that round-off does not decide between stages of one share: the noisiest comes first.
        missing = [round(mass * group - count, 9) for mass, count in zip(masses, counts, strict=True)]
        counts[missing.index(max(missing))] += 1
    return tuple(counts)


def _choose_group(masses: Sequence[float]) -> int:
    smallest = 1 << (len(masses) - 1).bit_length()
    groups = [smallest]
    while groups[-1] * 2 <= MAX_GROUP:
        groups.append(groups[-1] * 2)

    def extreme(group: int) -> float:
        weights = [mass * group / count for mass, count in zip(masses, _counts(masses, group), strict=True)]
        return max(*weights, *(1 / weight for weight in weights))

    good = (group for group in groups if extreme(group) <= MAX_WEIGHT + 1e-9)
    return next(good, None) or min(groups, key=extreme)
