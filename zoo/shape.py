"""The numbers of a backbone before any part of it: its stages and levels, and names of the places in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from zoo.schedule import Grid, LevelShape, Node, StageShape, is_finer, patch_name


class Spot(NamedTuple):
    """A patch and width, and the size of the latents that it is of."""

    node: Node
    size: Grid


class Place(NamedTuple):
    """Where a block stands in the levels of a stage.

    Attributes:
        level: the number of its level, from 0.
        block: its number in that level, from 0.
        levels: the levels' patches, widths and numbers of blocks.
    """

    level: int
    block: int
    levels: tuple[LevelShape, ...]


@dataclass(frozen=True)
class Shape:
    """The numbers of a backbone, before any part of it.

    Attributes:
        channels: latent channels.
        size: of the latents, a number for each axis.
        num_classes: the null class aside.
        dim: width of the tokens where a level says no other.
        heads: attention heads of that width.
        depth: blocks in all.
        shared_condition: one condition of the backbone's width for all widths, in place of one for each.
        stages: resolved.
    """

    channels: int
    size: Grid
    num_classes: int
    dim: int
    heads: int
    depth: int
    shared_condition: bool
    stages: tuple[StageShape, ...]

    @property
    def latent(self) -> Grid:
        """Channels and size of the data."""
        return (self.channels, *self.size)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every patch and width that blocks work at, in the order of first use."""
        return tuple(dict.fromkeys(level.node for stage in self.stages for level in stage.levels))

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the conditions, in the order of first use."""
        if self.shared_condition:
            return (self.dim,)
        return tuple(dict.fromkeys(node.dim for node in self.nodes))

    def condition_dim(self, width: int) -> int:
        """Width of the condition that steers tokens of this width."""
        return self.dim if self.shared_condition else width


def block_dims(shape: Shape) -> tuple[int, ...]:
    """The width of every block."""
    return tuple(level.node.dim for level in shape.stages[0].levels for _ in range(level.blocks))


def node_name(shape: Shape, node: Node) -> str:
    """``4x4``, and with the width too where that patch has several in this backbone: ``4x4_384``."""
    several = len({other.dim for other in shape.nodes if other.patch == node.patch}) > 1
    return f"{patch_name(node.patch)}_{node.dim}" if several else patch_name(node.patch)


def key_name(shape: Shape, key: Any) -> str:
    """A key as state dicts name it: of a node, of a pair, of a node at a size of the latents, or a plain number."""
    if isinstance(key, Node):
        return node_name(shape, key)
    if isinstance(key, Spot):
        sizes = {
            stage.size_in(shape.size) for stage in shape.stages for level in stage.levels if level.node == key.node
        }
        return node_name(shape, key.node) + (f"_of_{patch_name(key.size)}" if len(sizes) > 1 else "")
    if isinstance(key, tuple):
        return "_to_".join(node_name(shape, node) for node in key)
    return str(key)


def places_in(stage: StageShape) -> list[Place]:
    """Where every block stands in the levels of a stage."""
    return [
        Place(number, block, stage.levels) for number, level in enumerate(stage.levels) for block in range(level.blocks)
    ]


def kept_before(stage: StageShape) -> list[dict[Grid, Node]]:
    """For every level of a stage, what was left on the way down before it, by patch."""
    kept: dict[Grid, Node] = {}
    found = [dict(kept)]
    for before, after in pairwise(level.node for level in stage.levels):
        if not is_finer(after.patch, before.patch):
            kept[before.patch] = before
        found.append(dict(kept))
    return found
