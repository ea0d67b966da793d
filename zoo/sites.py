"""The places of a backbone that parts stand at, and what zoo knows there.

One enumerator for every word that a kind's ``per`` may say: it yields the keys that parts of the kind stand under, and
the site at each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from zoo.schedule import Grid, LevelShape, Pair, StageShape, as_written, grid_of, pairs_of
from zoo.shape import Place, Shape, Spot, block_dims, kept_before, places_in

Key = Hashable
Built = Mapping[str, Mapping[Key, Any]]
"""Parts by kind, and by the key that each stands under."""


class Slot(NamedTuple):
    """What a block or a head asks of the modulation.

    Attributes:
        condition: width of the condition that it is steered by.
        dim: width of its vectors.
        vectors: how many.
        lends: which of a block's, by index, are shift and scale that a head may borrow.
    """

    condition: int
    dim: int
    vectors: int
    lends: tuple[int, int] | None = None


@dataclass(frozen=True)
class Unknown:
    """In place of what cannot be supplied, and why."""

    reason: str


@dataclass(frozen=True)
class Site:
    """What zoo knows at a place; each kind is supplied with some of it.

    Attributes:
        dim: width of the tokens that come in.
        next_dim: width of the tokens that go out, of parts between two levels.
        kept_dim: width of what left the next patch on the way down; None where a part that may do without is not fed
            with that.
        condition_dim: width of the condition.
        heads: attention heads.
        patch: latent pixels per token, on each axis.
        next_patch: the patch of the level after.
        grid: tokens per side.
        stride: from one token to the next on each axis, in tokens of the finest patch.
        m: how many tokens come in there in front of the image's.
        axes: how many the latents have, 1 to 3.
        channels: of the latents.
        size: of the latents, for what stands beside the backbone.
        num_classes: classes, the null class aside.
        stages: how many stages there are.
        ranges: noise levels (low, high) of each stage, noisiest first.
        scales: by which the latents of each stage are smaller than the data, on each axis.
        depth: blocks in all.
        block_dims: width of the tokens that each block is given.
        index: of the block, counted from 0 among all.
        places: where the block stands in the levels of every stage, which all share it.
        blocks: what every block asks of the modulation.
        heads_by_width: what heads ask of the modulation, by the width of their tokens.
        widths: of the conditions.
        has_label: whether the class conditioner gives a vector of the label.
    """

    axes: int
    channels: int = 0
    size: Grid = ()
    num_classes: int = 0
    depth: int = 0
    block_dims: tuple[int, ...] = ()
    stages: int = 0
    ranges: tuple[tuple[float, float], ...] = ()
    scales: tuple[Grid, ...] = ()
    dim: int = 0
    next_dim: int = 0
    kept_dim: int | Unknown | None = None
    condition_dim: int = 0
    heads: int = 0
    patch: Grid = ()
    next_patch: Grid = ()
    grid: Grid = ()
    stride: tuple[float, ...] = ()
    m: int = 0
    index: int = 0
    places: tuple[Place, ...] = ()
    blocks: tuple[Slot, ...] = ()
    heads_by_width: Mapping[int, Slot] = field(default_factory=dict)
    widths: tuple[int, ...] = ()
    has_label: bool = False

    @property
    def latent(self) -> tuple[int, ...]:
        """Channels and size of the latents."""
        return self.channels, *self.size


Sites = Iterator[tuple[Key, Site]]


def assembly(shape: Shape, built: Built) -> Sites:
    """One for the whole assembly."""
    from zoo.parts.facts import facts_of  # which modulations stand beside, and they know these sites

    dims = block_dims(shape)
    heads = {
        key.dim: Slot(shape.condition_dim(key.dim), key.dim, part.modulation_vectors)
        for key, part in _items(built, "head")
    }
    yield (
        None,
        _site(
            shape,
            block_dims=dims,
            blocks=tuple(
                Slot(shape.condition_dim(dims[index]), dims[index], part.modulation_vectors, part.lends)
                for index, part in _items(built, "block")
            ),
            heads_by_width=heads,
            widths=shape.widths,
            has_label=any("label" in facts_of(part).gives for _, part in _items(built, "class_conditioner")),
        ),
    )


def widths(shape: Shape, built: Built) -> Sites:
    """One for each width of a condition."""
    for width in shape.widths:
        yield width, _site(shape, dim=width)


def starts(shape: Shape, built: Built) -> Sites:
    """One for each patch and width that a stage starts with, or that a skip feeds with latents."""
    nodes = [stage.levels[0].node for stage in shape.stages]
    nodes += [after for (_, after), part in _items(built, "skip") if part.feeds == "latents"]
    for node in dict.fromkeys(nodes):
        yield node, _site(shape, dim=node.dim, patch=node.patch)


def ends(shape: Shape, built: Built) -> Sites:
    """One for each patch and width that a stage ends with."""
    for node in dict.fromkeys(stage.levels[-1].node for stage in shape.stages):
        yield node, _site(shape, dim=node.dim, patch=node.patch)


def levels(shape: Shape, built: Built) -> Sites:
    """One for each patch and width, and size of the latents, that blocks work at."""
    spans = [_span(stage, level) for stage in shape.stages for level in stage.levels]
    finest = tuple(map(min, zip(*spans, strict=True)))
    found: dict[Key, Site] = {}
    for stage in shape.stages:
        before = None
        for level in stage.levels:
            node, size = level.node, stage.size_in(shape.size)
            comes_in = before is None or before.dim != node.dim
            m = prefix_of(shape, built, node.dim) if comes_in else 0
            known = found.get(Spot(node, size))
            found[Spot(node, size)] = _site(
                shape,
                dim=node.dim,
                heads=level.heads or 0,
                patch=node.patch,
                grid=grid_of(size, node.patch),
                stride=tuple(a / b for a, b in zip(_span(stage, level), finest, strict=True)),
                m=max(m, known.m if known else 0),
            )
            before = node
    yield from found.items()


def ups(shape: Shape, built: Built) -> Sites:
    """One for each pair of neighbouring levels of which the second has the finer patch."""
    for pair in pairs_of(shape.stages, finer=True):
        yield pair, _between(shape, pair)


def downs(shape: Shape, built: Built) -> Sites:
    """One for each other pair: to a coarser patch, or to another width at the same."""
    for pair in pairs_of(shape.stages, finer=False):
        yield pair, _between(shape, pair)


def blocks(shape: Shape, built: Built) -> Sites:
    """One for each block."""
    stages = [places_in(stage) for stage in shape.stages]
    for index, places in enumerate(zip(*stages, strict=True)):
        own = places[0].levels[places[0].level]  # of the same width and heads in all stages
        yield (
            index,
            _site(
                shape,
                dim=own.dim,
                heads=own.heads or 0,
                condition_dim=shape.condition_dim(own.dim),
                index=index,
                places=places,
            ),
        )


ENUMERATORS: Mapping[str, Callable[[Shape, Built], Sites]] = {
    each.__name__: each for each in (assembly, widths, starts, levels, downs, ups, blocks, ends)
}
"""By the word that ``Kind.per`` says."""


def prefix_of(shape: Shape, built: Built, width: int) -> int:
    """Tokens in front of the image's at this width: the modulation's and the class conditioner's."""
    if shape.condition_dim(width) != width:  # a shared condition's tokens have the backbone's width alone
        return 0
    conditioner = dict(_items(built, "class_conditioner")).get(width)
    modulation = dict(_items(built, "modulation")).get(None)
    return (conditioner.class_tokens if conditioner else 0) + (modulation.tokens if modulation else 0)


def _between(shape: Shape, pair: Pair) -> Site:
    before, after = pair
    return _site(
        shape,
        dim=before.dim,
        next_dim=after.dim,
        patch=before.patch,
        next_patch=after.patch,
        kept_dim=_kept_dim(shape, pair),
    )


def _kept_dim(shape: Shape, pair: Pair) -> int | Unknown:
    """Width of what was left at the patch of the pair's second level, in all stages that go this way; why it is not
    known, where it is not the same in all of them."""
    found: dict[int, int] = {}
    for number, stage in enumerate(shape.stages):
        nodes = [level.node for level in stage.levels]
        for place, here in enumerate(pairwise(nodes), start=1):
            if here != pair:
                continue
            kept = kept_before(stage)[place].get(pair[1].patch)
            if kept is None:
                name = as_written(pair[1].patch)
                return Unknown(
                    f"needs what left patch {name} on the way down, and stage {number} comes to {name} without having"
                    " been there"
                )
            found[number] = kept.dim
    if len(set(found.values())) > 1:
        each = " and ".join(f"{dim} in stage {number}" for number, dim in found.items())
        return Unknown(f"needs what left patch {as_written(pair[1].patch)}, whose width is {each}")
    return next(iter(found.values()))


def _site(shape: Shape, **known: Any) -> Site:
    return Site(
        axes=len(shape.size),
        channels=shape.channels,
        num_classes=shape.num_classes,
        depth=shape.depth,
        stages=len(shape.stages),
        **known,
    )


def _span(stage: StageShape, level: LevelShape) -> Grid:
    """Pixels of the data that a token is as wide as."""
    return tuple(a * b for a, b in zip(stage.scale, level.node.patch, strict=True))


def _items(built: Built, kind: str) -> list[tuple[Any, Any]]:
    return list(built.get(kind, {}).items())
