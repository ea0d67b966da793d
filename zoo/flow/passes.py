"""What drawing one image costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from zoo.flow.base import Guidance
from zoo.flow.segments import Segment
from zoo.schedule import StageShape


class Passes(NamedTuple):
    """Samples' passes through the backbone: with their labels, and without."""

    conditional: int
    unconditional: int


def evaluations(
    levels: Sequence[float],
    stages: Sequence[StageShape],
    ties: Literal["cleaner", "noisier"],
    guidance: Guidance | None = None,
    segment: Segment | None = None,
) -> tuple[Passes, ...]:
    """What one image costs: passes through every stage, noisiest first.

    Args:
        levels: of the evaluations, as ``Solver.levels`` tells them.
        stages: from noisy to clean.
        ties: the stage that a noise level on a threshold belongs to.
        guidance: where the pass without label is needed; nowhere if left out.
        segment: that the evaluations are of, whose own times ``levels`` then are; the whole path if left out.
    """
    segment = segment or Segment(0, len(stages) - 1)
    levels = [segment.noise_level(u) for u in levels]
    # In float32, as the backbone sees noise levels beside latents of float32.
    t = torch.tensor(levels, dtype=torch.float32).unsqueeze(1)
    thresholds = torch.tensor([stage.noise_above for stage in stages[:-1]], dtype=torch.float32)
    found = (t <= thresholds if ties == "cleaner" else t < thresholds).sum(dim=1)
    stage_of = found.clamp(segment.first, segment.last).tolist()
    without = [
        guidance is not None and guidance.second == "null" and guidance.scale(stage, level) != 1.0
        for stage, level in zip(stage_of, levels, strict=True)
    ]
    return tuple(
        Passes(
            stage_of.count(stage),
            sum(needed for needed, own in zip(without, stage_of, strict=True) if own == stage),
        )
        for stage in range(len(stages))
    )
