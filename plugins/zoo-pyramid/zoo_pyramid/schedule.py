"""Pyramidal Flow's stages: latents of half the size where it is noisier, at one patch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

import zoo
from zoo.parts import Level, Patch, PatchSchedule, Stage


@zoo.part("patch_schedule", "pyramid")
class Pyramid(PatchSchedule):
    """Stages of equal shares of the noise levels, each on latents twice as large as the one before: Pyramidal Flow.

    Needs a path that goes between their sizes, such as ``pyramid``; for shares that are not equal, or other levels in
    each stage, ``by_timestep`` and ``by_depth_and_timestep`` have ``scale`` too.

    Source: Jin et al., Pyramidal Flow Matching (arXiv 2410.05954), section 3.

    Options:
        stages: how many; the first has latents that are ``2^(stages - 1)`` times smaller on each axis.
        patch: latent pixels per token, in all stages.
        levels: runs of blocks with patches of their own, in place of ``patch``, the same in all stages: MPDiT's.
        ties: the stage that a noise level exactly on a threshold belongs to.
    """

    def __init__(
        self,
        depth: int,
        *,
        stages: Annotated[int, Field(ge=2, le=6)] = 2,
        patch: Patch = 2,
        levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=16)] | None = None,
        ties: Literal["cleaner", "noisier"] = "cleaner",
    ) -> None:
        self.ties, self._has_levels = ties, levels is not None
        own = (Level(patch=patch, blocks=depth),) if levels is None else levels
        self._stages = tuple(
            Stage(noise_above=after / stages, levels=own, scale=2**after) for after in reversed(range(stages))
        )

    def stages(self) -> tuple[Stage, ...]:
        """From the smallest latents to those of the data's size."""
        return self._stages

    def key_path(self, stage: int | None, level: int | None, field: str | None) -> tuple[str | int, ...]:
        """How many stages, for what is wrong with their sizes; else the patch, or the level."""
        if field in ("scale", "noise_above"):
            return ("stages",)
        if not self._has_levels:
            return ("patch",)
        return ("levels",) if level is None else ("levels", level, *([field] if field else []))
