"""The segments of a path: runs of stages that a solver goes through without a jump."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from zoo.errors import ZooError
from zoo.part_holder import PartHolder


class Segment(NamedTuple):
    """Some stages, one after the other, between two noise levels.

    Attributes:
        first: stage of it, 0 = noisiest.
        last: stage of it.
        low: noise level at its clean end.
        high: noise level at its noisy end.
        steps: updates of the solver.
        before: updates of the segments before it.
    """

    first: int
    last: int
    low: float = 0.0
    high: float = 1.0
    steps: int = 1
    before: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it is all of a path, which goes without a jump."""
        return (self.low, self.high) == (0.0, 1.0)

    def noise_level(self, u: float) -> float:
        """That of a time u of the segment's own, in [0, 1]."""
        return self.high if u == 1.0 else self.low + (self.high - self.low) * u

    def own_time(self, t: float) -> float:
        """The segment's own time at a noise level."""
        return (t - self.low) / (self.high - self.low)


def whole(backbone: PartHolder) -> Segment:
    """All stages, without a jump."""
    return Segment(0, len(backbone.stages) - 1)


def segments_of(backbone: PartHolder, steps: int) -> tuple[Segment, ...]:
    """The segments of a backbone's path, noisiest first; each takes its share of the updates by its noise levels, and
    one at least.

    Args:
        backbone: whose stages and path they are.
        steps: updates of all segments.

    Raises:
        ZooError: there are fewer updates than segments.
    """
    found = []
    for ends, stages in groupby(range(len(backbone.stages)), backbone.path.range):
        own = list(stages)
        found.append(Segment(own[0], own[-1], *ends))
    if len(found) == 1:
        return (found[0]._replace(steps=steps),)
    if steps < len(found):
        raise ZooError(
            f"sample.steps: {steps} for {len(found)} segments of the path; take {len(found)} at least, one each"
        )
    counts = [1] * len(found)
    for _ in range(steps - len(found)):
        # Rounded, so that round-off does not decide between segments of one share: the noisiest comes first.
        missing = [round((own.high - own.low) * steps - count, 9) for own, count in zip(found, counts, strict=True)]
        counts[missing.index(max(missing))] += 1
    return tuple(
        own._replace(steps=count, before=sum(counts[:number]))
        for number, (own, count) in enumerate(zip(found, counts, strict=True))
    )


def check_sizes(backbone: PartHolder, where: str = "") -> None:
    """Refuse stages of sizes of their own where the path does not go between these; ``where`` stands in front.

    Raises:
        ZooError: it does not.
    """
    if any(set(stage.scale) != {1} for stage in backbone.stages) and not backbone.path.resizes:
        raise ZooError(
            f"{where}objective.path: goes between no sizes, and a stage of backbone.patch_schedule has a scale; take a"
            " path that does, such as pyramid of zoo-pyramid, or leave scale out"
        )
