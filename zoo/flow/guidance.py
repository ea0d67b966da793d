"""Classifier-free guidance: where it applies, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from zoo.schedule import StageShape


@dataclass(frozen=True)
class Guidance:
    """``v = u + scale * (c - u)``, c and u the velocities with and without the label (arXiv 2207.12598).

    Attributes:
        scales: one for every stage, noisiest first; 1 is no guidance, and costs nothing.
        channels: the first so many latent channels are guided, the others take the velocity with the label; None for
            all. (The published DiT, SiT and PPFlow guide 3 of 4.)
        interval: lowest and highest noise level that are guided, both included (arXiv 2404.07724).

    Raises:
        ValueError: a scale that is not finite, no channel, or an interval that is none in [0, 1].
    """

    scales: tuple[float, ...]
    channels: int | None = None
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not self.scales or not all(map(math.isfinite, self.scales)):
            raise ValueError(f"guidance: scales must be finite numbers, one for every stage, not {self.scales}")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"guidance: must guide at least one channel, not {self.channels}")
        low, high = self.interval
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(
                f"guidance: the interval goes from a lower noise level to a higher one in [0, 1], not {low} to {high}"
            )

    @classmethod
    def of(
        cls,
        scale: float | Sequence[float],
        stages: int,
        channels: int | None = None,
        interval: tuple[float, float] = (0.0, 1.0),
    ) -> Guidance:
        """One scale for all stages, or one for each.

        Raises:
            ValueError: there are not as many scales as stages, and see ``Guidance``.
        """
        scales = (float(scale),) * stages if isinstance(scale, int | float) else tuple(scale)
        if len(scales) != stages:
            given = f"{len(scales)} scales for {stages} stage{'s' * (stages != 1)}"
            raise ValueError(f"guidance: {given}; give one, or one for every stage")
        return cls(scales, channels, interval)

    @property
    def is_none(self) -> bool:
        """Whether nothing is guided anywhere."""
        return all(scale == 1.0 for scale in self.scales)

    def scale_at(self, stage: int, t: float) -> float:
        """The scale at a noise level t of a stage; 1 outside of the interval."""
        return self.scales[stage] if self.interval[0] <= t <= self.interval[1] else 1.0


class Passes(NamedTuple):
    """Samples' passes through the backbone: with their labels, and without."""

    conditional: int
    unconditional: int


def evaluations(
    levels: Sequence[float], stages: Sequence[StageShape], ties: Literal["cleaner", "noisier"], guidance: Guidance
) -> tuple[Passes, ...]:
    """What one image costs: passes through every stage, noisiest first.

    Args:
        levels: noise levels of the evaluations, as ``Solver.levels`` tells them.
        stages: from noisy to clean.
        ties: the stage that a noise level on a threshold belongs to.
        guidance: where the pass without label is needed.
    """
    # In float32, as the backbone sees noise levels beside latents of float32.
    t = torch.tensor(levels, dtype=torch.float32).unsqueeze(1)
    thresholds = torch.tensor([stage.noise_above for stage in stages[:-1]], dtype=torch.float32)
    stage_of = (t <= thresholds if ties == "cleaner" else t < thresholds).sum(dim=1).tolist()
    guided = [guidance.scale_at(stage, level) != 1.0 for stage, level in zip(stage_of, levels, strict=True)]
    return tuple(
        Passes(
            stage_of.count(stage),
            sum(needed for needed, own in zip(guided, stage_of, strict=True) if own == stage),
        )
        for stage in range(len(stages))
    )
