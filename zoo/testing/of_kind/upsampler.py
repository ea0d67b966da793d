"""Upsamplers: tokens in, tokens of a finer grid out."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from zoo.parts.facts import facts_of
from zoo.parts.grids import ratio
from zoo.schedule import patch_name
from zoo.testing.cases import BATCH, Case, Random, Shape
from zoo.testing.law import Law, law
from zoo.testing.place_laws import Link, in_front, keeps_places, same_places, some_places, token_at, within


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens behind those in front, which there are at an equal width alone; and what was kept, where it is taken."""
    part: Any = case.unmade
    m = case.m_passing
    tokens = random(batch, m + case.count, case.dim)
    width = _kept_width(case, part)
    kept = () if width is None else (random(batch, prod(_finer(case)), width),)
    return (tokens, m, case.site.grid, *kept)


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A token for every finer patch."""
    return [(batch, case.m_passing + prod(_finer(case)), case.site.next_dim)]


def links(case: Case, part: Any) -> Iterator[Link]:
    """A token is in all finer ones that its patch covers; what was kept is in the token that it comes back to."""
    grid, m, finer = case.site.grid, case.m_passing, _finer(case)
    yield from in_front(m)
    for place in some_places(grid):
        covered = [token_at(each, finer, m) for each in within(place, ratio(case.site.patch, case.site.next_patch))]
        yield Link(f"the token at {place} of {patch_name(grid)}", 0, token_at(place, grid, m), covered)
    if _kept_width(case, part) is not None:
        yield from same_places(finer, tensor=1, told="what was kept", m=m)


@law(
    "Return the tokens per side after the change, a tuple: each side times how much finer the patch becomes on "
    "that axis."
)
def returns_its_grid(case: Case) -> None:
    """An upsampler says which grid its tokens are on."""
    _, grid = case.outputs(case.build(), BATCH)
    assert tuple(grid) == _finer(case), f"returns the grid {tuple(grid)} in place of {_finer(case)}"


def _finer(case: Case) -> tuple[int, ...]:
    factor = ratio(case.site.patch, case.site.next_patch)
    return tuple(side * each for side, each in zip(case.site.grid, factor, strict=True))


def _kept_width(case: Case, part: Any) -> Any:
    return case.site.kept_dim if "kept" in facts_of(part).takes else None


LAWS: dict[str, tuple[Law[Case], ...]] = {"upsampler": (keeps_places, returns_its_grid)}
