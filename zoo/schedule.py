"""Patches, levels and stages: the plain values that a patch schedule is made of. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
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
