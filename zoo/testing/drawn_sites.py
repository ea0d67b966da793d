"""Where a part may stand: small sites that hypothesis draws, and corners that no part is spared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from zoo.attributes import said_by
from zoo.kinds import KINDS
from zoo.part_entries import PartEntry
from zoo.schedule import AXES, Grid, LevelShape, StageShape
from zoo.shape import Place, places_in
from zoo.sites import Site, Slot
from zoo.testing.strategies import GRIDS, head_dims


class Corner(NamedTuple):
    """Sites whose grid and patches are not square, which luck may leave out.

    Attributes:
        axes: of the latents.
        front: whether there are tokens in front, also of what changes the patch.
    """

    axes: int
    front: bool


class Skewed(NamedTuple):
    """Tokens per side, and patches; no side is as long as another, where few numbers allow that."""

    grid: tuple[int, ...]
    fine: tuple[int, ...]
    coarse: tuple[int, ...]


SKEWED: Mapping[int, Skewed] = {
    1: Skewed((3,), (1,), (2,)),
    2: Skewed((2, 3), (1, 2), (3, 4)),
    3: Skewed((2, 1, 3), (1, 2, 1), (2, 2, 1)),
}


def corners(entry: PartEntry, axes: int | None = None) -> list[Corner]:
    """Those that a part has to be tried in, if it has a forward pass: on each number of axes, or on this one.

    The plainest is the last.
    """
    kind = KINDS[entry.kind]
    if not kind.where and kind.section is not None:
        return []
    numbers = [axes] if axes else reversed(_axes_of(entry))
    return [Corner(number, front) for number in numbers for front in (False, True)]


def axes_given(given: Mapping[str, Any]) -> int | None:
    """The number of axes of sites of which these values are given; None if they do not tell."""
    return given.get("axes", len(given["size"]) if "size" in given else None)


def _axes_of(entry: PartEntry) -> list[int]:
    """Numbers of axes that its class says it takes, two first."""
    return sorted(said_by(entry.cls, "axes", AXES), key=lambda each: (each != 2, each))


@st.composite
def sites(draw: st.DrawFn, entry: PartEntry, axes: int | None = None, corner: Corner | None = None) -> Site:
    """Sites of a part, of small sizes: in a corner, on so many axes, or on any that its class says it takes."""
    axes = corner.axes if corner else axes or draw(st.sampled_from(_axes_of(entry)))
    sides = st.integers(1, 3 if axes < 3 else 2)
    heads = draw(st.integers(1, 2))
    dim = heads * draw(head_dims(axes))
    front = corner.front if corner else draw(st.booleans())
    next_dim = dim if corner and front else draw(st.sampled_from([dim, 2 * dim]))  # another has none in front
    fine = SKEWED[axes].fine if corner else tuple(draw(sides) for _ in range(axes))
    coarse = SKEWED[axes].coarse if corner else tuple(side * draw(sides) for side in fine)
    grid = SKEWED[axes].grid if corner else draw(st.sampled_from(GRIDS[axes]))
    down = KINDS[entry.kind].per == "downs"
    widths = draw(st.sampled_from([(dim,), (dim, 2 * dim)]))
    vectors = st.integers(0, 6)
    shape = [(each, draw(st.integers(1, 3))) for each in draw(st.sampled_from([(1,), (1, 2, 1)]))]  # also down and up
    depth = sum(count for _, count in shape)
    index, stages = depth - 1 - draw(st.integers(0, depth - 1)), draw(st.integers(1, 3))  # the last may take most
    places = tuple(
        _places(shape, dim, heads, tuple(side << stage for side in coarse))[index] for stage in range(stages)
    )
    cuts = [(stages - stage) / stages for stage in range(1, stages)]  # a draw less: those of other parts stay
    slots = tuple(Slot(width, width, draw(vectors)) for width in (draw(st.sampled_from(widths)) for _ in range(depth)))
    return Site(
        axes=axes,
        channels=draw(st.integers(1, 16)),
        num_classes=draw(st.integers(1, 5)),
        depth=depth,
        # A router is tried with tokens of one width.
        block_dims=(dim,) * depth if entry.kind == "router" else tuple(slot.dim for slot in slots),
        stages=stages,
        ranges=tuple(zip((*cuts, 0.0), (1.0, *cuts), strict=True)),
        scales=tuple((2**stage,) * axes for stage in reversed(range(stages))),
        dim=dim,
        next_dim=next_dim,
        kept_dim=draw(st.sampled_from([next_dim, dim, *([None] if "kept" in said_by(entry.cls, "uses", ()) else [])])),
        condition_dim=draw(st.sampled_from([dim, 2 * dim])),
        heads=heads,
        patch=fine if down else coarse,
        next_patch=coarse if down else fine,
        grid=grid,
        size=tuple(side * pixels for side, pixels in zip(grid, fine if down else coarse, strict=True)),
        stride=tuple(a / b for a, b in zip(coarse, fine, strict=True)),
        m=draw(st.integers(1, 3)) if front else 0,
        index=index,
        places=places,
        blocks=slots,
        heads_by_width={width: Slot(width, width, draw(st.sampled_from([0, 2]))) for width in widths},
        widths=widths,
        has_label=draw(st.booleans()),
    )


def _places(shape: list[tuple[int, int]], dim: int, heads: int, patch: Grid) -> list[Place]:
    """Of all blocks of a stage, whose levels have so many times the patch, and so many blocks."""
    levels = (LevelShape(tuple(each * side for side in patch), count, dim, heads) for each, count in shape)
    return places_in(StageShape(0.0, tuple(levels), (1,) * len(patch)))
