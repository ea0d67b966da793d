"""Laws of places: which token of a grid comes out where, on grids of many tokens, and on several through one part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.kinds import KINDS
from zoo.parts.values import map_tensors, tensors_in
from zoo.schedule import Grid, patch_name
from zoo.testing.asserts import assert_close
from zoo.testing.cases import FEW, Case
from zoo.testing.law import law

LARGE: Mapping[int, Grid] = {1: (300,), 2: (7, 41), 3: (2, 5, 29)}
"""Of more tokens than 256, far from square, so that what is local and in another order is seen elsewhere."""

OF_ONE_COUNT: Mapping[int, Sequence[Grid]] = {1: (), 2: ((2, 8), (4, 4)), 3: ((1, 2, 8), (2, 4, 2))}
"""Grids of as many tokens."""

MOVED = 4.0
"""How far a token is moved, in standard deviations."""

SEEN = 1e-9
"""What more than round-off leaves of that, of the largest value."""

Index = tuple[Any, ...]


class Link(NamedTuple):
    """What of the inputs has to be seen where in the first of the outputs.

    Attributes:
        told: what it is, in words.
        tensor: the number of the input's tensor.
        before: where it is there.
        after: places of the output, each of which hangs on it.
    """

    told: str
    tensor: int
    before: Index
    after: Sequence[Index]


def on_grid(case: Case, grid: Grid) -> Case:
    """The case on another grid."""
    size = tuple(side * pixels for side, pixels in zip(grid, case.site.patch, strict=True))
    return replace(case, site=replace(case.site, grid=grid, size=size))


def some_places(sides: Grid) -> list[Grid]:
    """The corners, where a row or a column that is left out would be, and two places inside."""
    inside = [tuple(int(side * share) for side in sides) for share in (0.4, 0.8)]
    return list(dict.fromkeys([*product(*((0, side - 1) for side in sides)), *inside]))


def token_at(place: Grid, grid: Grid, m: int = 0) -> Index:
    """Where a token is in a sequence: row by row, behind those in front."""
    flat = 0
    for at, side in zip(place, grid, strict=True):
        flat = flat * side + at
    return (slice(None), m + flat)


def pixel_at(place: Grid) -> Index:
    """Where all channels of a pixel are in latents."""
    return (slice(None), slice(None), *place)


def within(place: Grid, factor: Grid) -> Iterator[Grid]:
    """The finer places that one covers."""
    yield from product(*(range(at * each, (at + 1) * each) for at, each in zip(place, factor, strict=True)))


def over(place: Grid, factor: Grid) -> Grid:
    """The coarser place that covers one."""
    return tuple(at // each for at, each in zip(place, factor, strict=True))


def in_front(m: int) -> Iterator[Link]:
    """Each token in front stays where it is."""
    for number in range(m):
        yield Link(f"token {number} of {m} in front", 0, (slice(None), number), [(slice(None), number)])


def same_places(grid: Grid, m: int = 0, tensor: int = 0, told: str = "the token") -> Iterator[Link]:
    """Each of the image's tokens stays where it is."""
    for place in some_places(grid):
        before = token_at(place, grid, 0 if tensor else m)  # what joins the tokens has none in front
        yield Link(f"{told} at {place} of {patch_name(grid)}", tensor, before, [token_at(place, grid, m)])


def _of_tokens(case: Case, part: Any) -> Iterator[Link]:
    """Of a part that takes tokens, and returns tokens of the same grid."""
    yield from in_front(case.m)
    yield from same_places(case.site.grid, case.m)


TRIES = 8
"""Of moving a place: where the largest of some tokens goes on, one that is moved down throughout is not seen."""


@law(
    "Order tokens row by row (the last axis runs fastest) behind those in front, which keep their order, as to_map,"
    " shuffle, unshuffle, patchify and unpatchify do, and leave out no row, corner or pixel.",
    examples=FEW,
)
def keeps_places(case: Case) -> None:
    """What comes out at a place, or for a token in front, hangs on what went in there."""
    case = on_grid(case, LARGE[case.site.axes])
    if case.refusal() is not None:
        return
    part, inputs = case.build(), case.inputs(1)
    generator = torch.Generator().manual_seed(case.seed + 4)
    with torch.no_grad():
        before = tensors_in(case.call(part, inputs))[0]
        least = SEEN * max(1.0, float(before.abs().max()))
        for told, tensor, at, after in (case.links or _of_tokens)(case, part):
            unseen = list(after)
            for _ in range(TRIES):
                moved = tensors_in(case.call(part, _moved(inputs, tensor, at, generator)))[0]
                change = (moved - before).abs()
                unseen = [index for index in unseen if float(change[index].max()) <= least]
                if not unseen:
                    break
            assert not unseen, f"{told} changes nothing where it belongs: {_where(change, least)}"


def _moved(inputs: tuple[Any, ...], tensor: int, at: Index, generator: torch.Generator) -> tuple[Any, ...]:
    old = tensors_in(inputs)[tensor]
    new = old.clone()
    new[at] += MOVED * torch.randn(new[at].shape, generator=generator, dtype=new.dtype)
    moved: tuple[Any, ...] = map_tensors(lambda each: new if each is old else each, inputs)
    return moved


def _where(change: Tensor, least: float) -> str:
    """Where something changes, of tokens or of pixels."""
    own = change[0].amax(dim=-1) if change.ndim == 3 else change[0].amax(dim=0)
    places = [tuple(each) for each in (own > least).nonzero().tolist()]
    return f"it changes others, the first at {places[0]}" if places else "it changes nothing at all"


@law(
    "Make tables as long as the grid that comes, or that the constructor is told, has tokens, with those in front: 256"
    " of them are 16x16, and video has thousands.",
    examples=1,
)
def takes_many_tokens(case: Case) -> None:
    """On a grid of more than 256 tokens the shapes are as promised too."""
    case = on_grid(case, LARGE[case.site.axes])
    if case.refusal() is not None:
        return
    with torch.no_grad():
        assert_shapes(case, 1, where=f"on a grid of {patch_name(case.site.grid)} it ")


def assert_shapes(case: Case, *batches: int, where: str = "") -> None:
    """What comes out has the shapes that the kind promises, of batches of these sizes."""
    part = case.build(dtype=torch.float32)  # that of labels, which not every part turns into its own
    for batch in batches:
        shapes = [tuple(each.shape) for each in tensors_in(case.outputs(part, batch, dtype=torch.float32))]
        expected = case.shapes(part, batch)
        assert shapes == expected, f"{where}returns shapes {shapes}, and its kind promises {expected}"


@law(
    "Keep no table from call to call by the number of tokens alone: grids of several shapes have as many, such as 2x8"
    " and 4x4; keep it by the grid.",
    examples=FEW,
)
def knows_grids_apart(case: Case) -> None:
    """After a grid of as many tokens and other sides, it gives on a grid what it gives there at first."""
    if "grid" in KINDS[case.entry.kind].supplied:  # one is built for each
        return
    used = case.build()
    with torch.no_grad():
        for grid in OF_ONE_COUNT[case.site.axes]:
            own = on_grid(case, grid)
            after, first = (own.outputs(part, 1) for part in (used, own.build()))
            assert_close(after, first, f"on {patch_name(grid)} it gives something else after another grid of as many")


LAWS = (takes_many_tokens, knows_grids_apart)
