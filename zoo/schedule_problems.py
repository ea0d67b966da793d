"""Every way in which a patch schedule does not fit a backbone, and where in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from zoo.schedule import Grid, Node, Stage, StageShape, as_written, is_finer, patch_name, resolved


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
    fitting, told = True, False
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
        fitting = fitting and not odd
        own = odd or list(_stage_problems(index, resolved([stage], len(size), dim, heads)[0], size))
        yield from own
        told = told or bool(own)
    if fitting and size is not None:
        shapes = resolved(stages, len(size), dim, heads)
        shared = list(_block_problems(shapes))
        yield from shared or ([] if told else _heads_problems(shapes, size))


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


def _heads_problems(stages: Sequence[StageShape], size: Grid) -> Iterator[ScheduleProblem]:
    """Levels at one patch and width have one position part, and so the same width of a head."""
    known: dict[tuple[Node, Grid], tuple[int, str]] = {}
    for index, stage in enumerate(stages):
        for place, level in enumerate(stage.levels):
            heads, where = known.setdefault(
                (level.node, stage.size_in(size)), (level.heads, f"level {place} of stage {index}")
            )
            if level.heads != heads:
                message = (
                    f"heads differ at patch {as_written(level.patch)} and width {level.dim}, whose levels share their"
                    f" positions: {level.heads} here and {heads} in {where}"
                )
                yield ScheduleProblem(index, place, "heads", message)


def _of_blocks(stage: StageShape) -> list[tuple[int, int, int]]:
    """Level, width and heads of every block."""
    return [(place, level.dim, level.heads) for place, level in enumerate(stage.levels) for _ in range(level.blocks)]
