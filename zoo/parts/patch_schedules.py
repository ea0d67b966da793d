"""Built-in patch schedules: how large a token is, by depth and by noise level."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zoo.parts.base import PatchSchedule
from zoo.registry import part
from zoo.schedule import Level, NoiseAbove, Patch, Stage
from zoo.signature import Options


class PatchStage(Options):
    """A stage with one patch for all of its blocks."""

    noise_above: NoiseAbove
    patch: Patch
    scale: Patch = 1


Levels = Annotated[tuple[Level, ...], Field(min_length=1, max_length=16)]
PatchStages = Annotated[tuple[PatchStage, ...], Field(min_length=1, max_length=64)]
LevelStages = Annotated[tuple[Stage, ...], Field(min_length=1, max_length=64)]
Ties = Literal["cleaner", "noisier"]


class FixedSchedule(PatchSchedule):
    """Stages that the constructor has made."""

    _stages: tuple[Stage, ...]

    def stages(self) -> tuple[Stage, ...]:
        """Those."""
        return self._stages


@part("patch_schedule", "uniform")
class Uniform(FixedSchedule):
    """One patch for all blocks and noise levels: DiT."""

    def __init__(self, depth: int, *, patch: Patch) -> None:
        self._stages = (Stage(noise_above=0.0, levels=(Level(patch=patch, blocks=depth),)),)

    def key_path(self, stage: int | None, level: int | None, field: str | None) -> tuple[str | int, ...]:
        """The patch."""
        return ("patch",)


@part("patch_schedule", "by_depth")
class ByDepth(FixedSchedule):
    """Patches, and widths, by depth: large patches first and small ones in the last blocks (MPDiT, section 3.2); or
    down to coarser ones and up again, an hourglass.

    Options:
        levels: runs of blocks, from the first on, each with its patch; where ``dim`` and ``heads`` are left out, they
            are the backbone's.
    """

    def __init__(self, depth: int, *, levels: Levels) -> None:
        self._stages = (Stage(noise_above=0.0, levels=levels),)

    def key_path(self, stage: int | None, level: int | None, field: str | None) -> tuple[str | int, ...]:
        """The level, or all of them."""
        return ("levels",) if level is None else _found("levels", level, field)


@part("patch_schedule", "by_timestep")
class ByTimestep(FixedSchedule):
    """Large patches where it is noisy, small ones where it is nearly clean: PPFlow (section 3).

    Options:
        stages: ranges of noise levels, noisiest first, each from ``noise_above`` up to the one before, with its patch;
            by ``scale`` its latents are smaller.
        ties: the stage that a noise level exactly on a threshold belongs to.
    """

    def __init__(self, depth: int, *, stages: PatchStages, ties: Ties = "cleaner") -> None:
        self.ties = ties
        self._stages = tuple(
            Stage(
                noise_above=stage.noise_above,
                levels=(Level(patch=stage.patch, blocks=depth),),
                scale=stage.scale,
            )
            for stage in stages
        )

    def key_path(self, stage: int | None, level: int | None, field: str | None) -> tuple[str | int, ...]:
        """The stage, or what of it."""
        return _found("stages", stage, field)


@part("patch_schedule", "by_depth_and_timestep")
class ByDepthAndTimestep(FixedSchedule):
    """Levels by depth inside each stage of noise levels: the hybrid of MPDiT and PPFlow, in neither paper.

    Options:
        stages: ranges of noise levels, noisiest first, each from ``noise_above`` up to the one before, with its levels;
            by ``scale`` its latents are smaller.
        ties: the stage that a noise level exactly on a threshold belongs to.
    """

    def __init__(self, depth: int, *, stages: LevelStages, ties: Ties = "cleaner") -> None:
        self.ties = ties
        self._stages = stages

    def key_path(self, stage: int | None, level: int | None, field: str | None) -> tuple[str | int, ...]:
        """The stage, or the level in it, or what of them."""
        return _found("stages", stage, *(() if level is None else ("levels", level)), field)


def _found(*path: str | int | None) -> tuple[str | int, ...]:
    """The path, as far as it is known."""
    return tuple(each for each in path if each is not None)
