"""Patches, levels and stages: the plain values that a patch schedule is made of. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Discriminator, Field, PositiveInt, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from zoo.signature import Options

Grid = tuple[int, ...]
"""A number for each axis of the latents: one, two or three."""

AXES = (1, 2, 3)


def _as_patch(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and len(value) in AXES:
        return tuple(value)
    raise PydanticCustomError("patch", "Input should be one whole number, or a list of one for each axis of the latent")


Patch = Annotated[
    Annotated[PositiveInt, Tag("number")] | Annotated[tuple[PositiveInt, ...], Tag("list")],
    Discriminator(lambda value: "number" if isinstance(value, int) else "list"),  # to tell what is wrong in it
    BeforeValidator(_as_patch),
    WithJsonSchema(
        {
            "description": "latent pixels per token: one number, or one for each axis, such as [height, width]",
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 3},
            ],
        }
    ),
]
"""Latent pixels per token, one number for each axis of the latents; a bare ``4`` is the same on all of them."""

NoiseAbove = Annotated[float, Field(ge=0.0, lt=1.0)]
"""The noise level (0 = data, 1 = pure noise) above which a stage applies."""


class Level(Options):
    """A run of consecutive blocks at one patch and one width.

    Attributes:
        patch: latent pixels per token.
        blocks: how many.
        dim: width of the tokens; the backbone's if left out.
        heads: attention heads; as many as give the backbone's width of a head if left out.
    """

    patch: Patch
    blocks: PositiveInt
    dim: PositiveInt | None = None
    heads: PositiveInt | None = None


class Stage(Options):
    """A range of noise levels, from ``noise_above`` up to the stage before, with its own levels.

    Attributes:
        noise_above: where it begins.
        levels: what its blocks work on, in order.
        scale: by which its latents are smaller, on each axis; 1 for the size of the data.
    """

    noise_above: NoiseAbove
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=16)]
    scale: Patch = 1


class Node(NamedTuple):
    """Where blocks work: a patch, with a number for each axis, and a width."""

    patch: Grid
    dim: int


@dataclass(frozen=True)
class LevelShape:
    """A level with a number for each axis, and its own width and heads."""

    patch: Grid
    blocks: int
    dim: int
    heads: int

    @property
    def node(self) -> Node:
        """Patch and width."""
        return Node(self.patch, self.dim)


@dataclass(frozen=True)
class StageShape:
    """A stage with the shapes of its levels, and a scale for each axis."""

    noise_above: float
    levels: tuple[LevelShape, ...]
    scale: Grid

    def size_in(self, size: Grid) -> Grid:
        """Of its latents, where the data's have ``size``."""
        return grid_of(size, self.scale)


Pair = tuple[Node, Node]
"""Two neighbouring levels, in the order of the blocks."""


class ScheduleProblem(NamedTuple):
    """What is wrong with a schedule, and where.

    Attributes:
        stage: of it; None for the whole.
        level: of the stage; None for the whole.
        field: of the stage or level, by its name; None for the whole.
        message: what is wrong.
        about: what of the backbone it does not go with, where the message does not write out its key: ``size``.
    """

    stage: int | None
    level: int | None
    field: str | None
    message: str
    about: str | None = None


def on_all_axes(value: int | Grid, axes: int) -> Grid:
    """A number for each of the axes."""
    return (value,) * axes if isinstance(value, int) else value


def grid_of(size: Sequence[int], patch: Grid) -> Grid:
    """Tokens per side of latents of this size, one number for each axis."""
    return tuple(side // pixels for side, pixels in zip(size, patch, strict=True))


def patch_name(patch: Grid) -> str:
    """``(4, 2)`` as ``4x2``, height first."""
    return "x".join(map(str, patch))


def as_written(patch: Grid) -> str:
    """``(4, 2)`` as a recipe writes it, ``[4, 2]``, and ``(4, 4)`` as ``4``."""
    return str(patch[0]) if len(set(patch)) == 1 else str(list(patch))


def resolved(stages: Sequence[Stage], axes: int, dim: int, heads: int) -> tuple[StageShape, ...]:
    """The stages with a number for each axis in every patch and scale, and the width and heads of every level."""
    head_dim = max(1, dim // heads)

    def level(given: Level) -> LevelShape:
        width = given.dim or dim
        own = given.heads or (heads if width == dim else max(1, width // head_dim))
        return LevelShape(on_all_axes(given.patch, axes), given.blocks, width, own)

    return tuple(
        StageShape(stage.noise_above, tuple(map(level, stage.levels)), on_all_axes(stage.scale, axes))
        for stage in stages
    )


def is_finer(patch: Grid, other: Grid) -> bool:
    """Whether ``patch`` divides another one into several."""
    return patch != other and all(b % a == 0 for a, b in zip(patch, other, strict=True))


def pairs_of(stages: Sequence[StageShape], *, finer: bool) -> tuple[Pair, ...]:
    """Every distinct pair of neighbouring levels, in the order of first use.

    Args:
        stages: of a backbone.
        finer: those that go to a finer patch; else those that go to a coarser one, or to another width at the same.
    """
    found = ((before.node, after.node) for stage in stages for before, after in pairwise(stage.levels))
    return tuple(dict.fromkeys(pair for pair in found if is_finer(pair[1].patch, pair[0].patch) == finer))


def noise_ranges(stages: Sequence[Stage | StageShape]) -> tuple[tuple[float, float], ...]:
    """The noise levels ``(low, high)`` of every stage, noisiest first."""
    lows = [stage.noise_above for stage in stages]
    return tuple(zip(lows, [1.0, *lows[:-1]], strict=True))


def shares(stages: Sequence[Stage | StageShape]) -> tuple[Fraction, ...]:
    """Each stage's exact share of uniformly drawn noise levels; they add up to 1."""
    return tuple(Fraction(str(high)) - Fraction(str(low)) for low, high in noise_ranges(stages))


def schedule_problems(
    stages: Sequence[Stage], depth: int, size: Grid | None, dim: int, heads: int
) -> Iterator[ScheduleProblem]:
    """Every way in which a schedule does not fit a backbone of ``depth`` blocks on latents of this size.

    Args:
        stages: as the schedule gives them.
        depth: blocks in all.
        size: of the latents, a number for each axis; None if it is not known, for all but what depends on it.
        dim: the backbone's width.
        heads: the backbone's attention heads.
    """
    if not stages:
        yield ScheduleProblem(None, None, None, "has no stage")
        return
    if stages[-1].noise_above != 0.0:
        message = f"the last stage must have noise_above 0.0, not {stages[-1].noise_above}"
        yield ScheduleProblem(len(stages) - 1, None, "noise_above", message)
    for index, (before, after) in enumerate(pairwise(stages), start=1):
        if after.noise_above >= before.noise_above:
            message = f"noise_above {after.noise_above} must be below {before.noise_above}"
            yield ScheduleProblem(index, None, "noise_above", f"stages go from noisy to clean: {message}")
    fitting = True
    for index, stage in enumerate(stages):
        blocks = [level.blocks for level in stage.levels]
        if sum(blocks) != depth:
            fitting = False
            total = " + ".join(map(str, blocks))
            total = f"{total} = {sum(blocks)}" if len(blocks) > 1 else total
            message = f"block counts must add up to depth: {total}, but backbone.depth is {depth}"
            yield ScheduleProblem(index, None, "levels", message)
        if size is None:
            continue
        odd = list(_axes_problems(index, stage, size))
        yield from odd
        if odd:
            fitting = False
        else:
            yield from _stage_problems(index, resolved([stage], len(size), dim, heads)[0], size)
    if fitting and size is not None:
        yield from _block_problems(resolved(stages, len(size), dim, heads))


def _axes_problems(index: int, stage: Stage, size: Grid) -> Iterator[ScheduleProblem]:
    given: list[tuple[int | None, str, int | Grid]] = [(None, "scale", stage.scale)]
    given += [(place, "patch", level.patch) for place, level in enumerate(stage.levels)]
    for place, what, value in given:
        if isinstance(value, tuple) and len(value) != len(size):
            numbers = f"{what} {list(value)} has {len(value)} number{'s' * (len(value) > 1)}"
            latent = f"the latent {patch_name(size)} has {len(size)} ax{'es' if len(size) > 1 else 'is'}"
            mend = "give one number" + (f", or {len(size)}" if len(size) > 1 else "")
            yield ScheduleProblem(index, place, what, f"{numbers}, and {latent}; {mend}", "size")


def _stage_problems(index: int, stage: StageShape, size: Grid) -> Iterator[ScheduleProblem]:
    latent = f"the latent {patch_name(size)}" + (" (height x width)" if len(size) == 2 else "")
    if any(side % factor for side, factor in zip(size, stage.scale, strict=True)):
        yield ScheduleProblem(index, None, "scale", f"scale {as_written(stage.scale)} does not divide {latent}", "size")
        return
    own = stage.size_in(size)
    if own != size:
        latent = f"the latent {patch_name(own)} of scale {as_written(stage.scale)}"
    nodes = [level.node for level in stage.levels]
    for place, (patch, _) in enumerate(nodes):
        if any(side % pixels for side, pixels in zip(own, patch, strict=True)):
            yield ScheduleProblem(index, place, "patch", f"patch {as_written(patch)} does not divide {latent}", "size")
    for place, (before, after) in enumerate(pairwise(nodes), start=1):
        if before == after:
            message = (
                f"patch {as_written(after.patch)} at width {after.dim} is that of the level before: make one of both"
            )
            yield ScheduleProblem(index, place, "patch", message)
        elif not (
            before.patch == after.patch or is_finer(before.patch, after.patch) or is_finer(after.patch, before.patch)
        ):
            message = f"{as_written(before.patch)} and {as_written(after.patch)} are not"
            yield ScheduleProblem(
                index,
                place,
                "patch",
                f"of neighbouring levels one patch is a whole multiple of the other on every axis: {message}",
            )


def _block_problems(stages: Sequence[StageShape]) -> Iterator[ScheduleProblem]:
    """Blocks are the same weights in all stages, and so have the same width and heads in all."""
    first = _of_blocks(stages[0])
    for index, stage in enumerate(stages[1:], start=1):
        for block, (one, other) in enumerate(zip(first, _of_blocks(stage), strict=True)):
            for field, what, a, b in zip(("dim", "heads"), ("width", "heads"), one[1:], other[1:], strict=True):
                if a != b:
                    message = f"stages share their blocks, and block {block} has {what} {b} here and {a} in stage 0"
                    yield ScheduleProblem(index, other[0], field, message)
                    return


def _of_blocks(stage: StageShape) -> list[tuple[int, int, int]]:
    """Level, width and heads of every block."""
    return [(place, level.dim, level.heads) for place, level in enumerate(stage.levels) for _ in range(level.blocks)]
