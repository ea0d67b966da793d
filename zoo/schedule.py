"""Patches, levels and stages: the plain values that a patch schedule is made of. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, PositiveInt, WithJsonSchema
from pydantic_core import PydanticCustomError

from zoo.signature import Options

Grid = tuple[int, int]


def _as_pair(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise PydanticCustomError("patch", "Input should be one whole number, or a list of two: [height, width]")


Patch = Annotated[
    tuple[PositiveInt, PositiveInt],
    BeforeValidator(_as_pair),
    WithJsonSchema(
        {
            "description": "latent pixels per token: one number, or [height, width]",
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
            ],
        }
    ),
]
"""Latent pixels per token ``(ph, pw)``, height first; a bare ``4`` means ``(4, 4)``."""

NoiseAbove = Annotated[float, Field(ge=0.0, lt=1.0)]
"""The noise level (0 = data, 1 = pure noise) above which a stage applies."""


class Level(Options):
    """A run of consecutive blocks at one patch."""

    patch: Patch
    blocks: PositiveInt


class Stage(Options):
    """A range of noise levels, from ``noise_above`` up to the stage before, with its own levels."""

    noise_above: NoiseAbove
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=16)]


class ScheduleProblem(NamedTuple):
    """What is wrong with a schedule, and at which stage and level of it (None: the whole)."""

    stage: int | None
    level: int | None
    message: str


def grid_of(height: int, width: int, patch: Grid) -> Grid:
    """Tokens per side ``(gh, gw)`` of a latent ``height x width`` at ``patch``."""
    return height // patch[0], width // patch[1]


def patch_name(patch: Grid) -> str:
    """``(4, 2)`` as ``4x2``, height first."""
    return f"{patch[0]}x{patch[1]}"


def patches_of(stages: Sequence[Stage]) -> tuple[Grid, ...]:
    """Every distinct patch of the schedule, in the order of first use."""
    return tuple(dict.fromkeys(level.patch for stage in stages for level in stage.levels))


def transitions_of(stages: Sequence[Stage]) -> tuple[tuple[Grid, Grid], ...]:
    """Every distinct (coarse, fine) pair of neighbouring levels, in the order of first use."""
    return tuple(
        dict.fromkeys((coarse.patch, fine.patch) for stage in stages for coarse, fine in pairwise(stage.levels))
    )


def first_patches_of(stages: Sequence[Stage], *, last: bool = False) -> tuple[Grid, ...]:
    """The distinct patches that stages start with, or end with if ``last``."""
    return tuple(dict.fromkeys(stage.levels[-1 if last else 0].patch for stage in stages))


def finest_patch_of(stages: Sequence[Stage]) -> Grid:
    """The smallest patch height and the smallest patch width of the whole schedule."""
    patches = patches_of(stages)
    return min(patch[0] for patch in patches), min(patch[1] for patch in patches)


def noise_ranges(stages: Sequence[Stage]) -> tuple[tuple[float, float], ...]:
    """The noise levels ``(low, high)`` of every stage, noisiest first."""
    lows = [stage.noise_above for stage in stages]
    return tuple(zip(lows, [1.0, *lows[:-1]], strict=True))


def shares(stages: Sequence[Stage]) -> tuple[Fraction, ...]:
    """Each stage's exact share of uniformly drawn noise levels; they add up to 1."""
    return tuple(Fraction(str(high)) - Fraction(str(low)) for low, high in noise_ranges(stages))


def schedule_problems(stages: Sequence[Stage], depth: int, height: int, width: int) -> Iterator[ScheduleProblem]:
    """Every way in which a schedule does not fit a backbone of ``depth`` blocks on a latent ``height x width``."""
    if not stages:
        yield ScheduleProblem(None, None, "has no stage")
    elif stages[-1].noise_above != 0.0:
        yield ScheduleProblem(
            len(stages) - 1, None, f"the last stage must have noise_above 0.0, not {stages[-1].noise_above}"
        )
    for index, (before, after) in enumerate(pairwise(stages), start=1):
        if after.noise_above >= before.noise_above:
            yield ScheduleProblem(
                index,
                None,
                f"stages go from noisy to clean: noise_above {after.noise_above} must be below {before.noise_above}",
            )
    for index, stage in enumerate(stages):
        blocks = [level.blocks for level in stage.levels]
        if sum(blocks) != depth:
            total = " + ".join(map(str, blocks))
            total = f"{total} = {sum(blocks)}" if len(blocks) > 1 else total
            yield ScheduleProblem(
                index, None, f"block counts must add up to depth: {total}, but backbone.depth is {depth}"
            )
        for place, level in enumerate(stage.levels):
            yield from _level_problems(index, place, stage.levels, level.patch, height, width)


def _level_problems(
    stage: int, place: int, levels: Sequence[Level], patch: Grid, height: int, width: int
) -> Iterator[ScheduleProblem]:
    if height % patch[0] or width % patch[1]:
        yield ScheduleProblem(
            stage,
            place,
            f"patch {patch_name(patch)} does not divide the latent {height}x{width} (height x width)",
        )
    if place == 0:
        return
    coarse = levels[place - 1].patch
    if coarse[0] % patch[0] or coarse[1] % patch[1] or coarse == patch:
        yield ScheduleProblem(
            stage,
            place,
            "levels go from coarse to fine, each patch a whole multiple of the next:"
            f" {patch_name(coarse)} is no such multiple of {patch_name(patch)}",
        )
