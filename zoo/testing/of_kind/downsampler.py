"""Downsamplers: tokens in, tokens of a coarser grid or of another width out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

from zoo.parts.facts import facts_of
from zoo.parts.grids import ratio
from zoo.schedule import patch_name
from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, Case, Random, Shape
from zoo.testing.law import Law, law
from zoo.testing.place_laws import Link, in_front, keeps_places, over, some_places, token_at


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens of the finer grid, behind those in front, which there are at an equal width alone."""
    m, finer = case.m_passing, _finer(case)
    return random(batch, m + prod(finer), case.dim), m, finer


def shapes(case: Case, part: Any, batch: int) -> list[Shape]:
    """A token for every coarser patch."""
    return [(batch, case.m_passing + case.count, case.site.next_dim)]


def links(case: Case, part: Any) -> Iterator[Link]:
    """A token is in the coarser one whose patch covers it."""
    m, finer = case.m_passing, _finer(case)
    yield from in_front(m)
    for place in some_places(finer):
        coarser = token_at(over(place, ratio(case.site.next_patch, case.site.patch)), case.site.grid, m)
        yield Link(f"the token at {place} of {patch_name(finer)}", 0, token_at(place, finer, m), [coarser])


@law(
    "Return the tokens per side after the change, a tuple: each side divided by how much coarser the patch "
    "becomes on that axis."
)
def returns_its_grid(case: Case) -> None:
    """A downsampler says which grid its tokens are on."""
    _, grid = case.outputs(case.build(), BATCH)
    assert tuple(grid) == case.site.grid, f"returns the grid {tuple(grid)} in place of {case.site.grid}"


@law(
    "At an equal patch change the width of each token by itself, however many come: a router may have left some out; "
    "or say refuses = {'subset'}."
)
def widens_a_subset(case: Case) -> None:
    """Between two widths at one patch, it takes some of the image's tokens as it takes all, unless it refuses them."""
    site = replace(case.site, next_patch=case.site.patch, next_dim=2 * case.dim)
    widening = replace(case, site=site)
    if widening.refusal() is not None:
        return
    part: Any = widening.build()
    if "subset" in facts_of(part).refuses:
        return
    tokens, m, grid = widening.inputs(BATCH)
    some = slice(0, None, 2)
    try:
        kept, _ = part(tokens[:, some], m, grid)
    except Exception as error:
        raise AssertionError(f"fails on some of the image's tokens ({error})") from error
    whole, _ = part(tokens, m, grid)
    assert_close(kept, whole[:, some], "some of the image's tokens become others than they do among all", SINGLE)


def _finer(case: Case) -> tuple[int, ...]:
    factor = ratio(case.site.next_patch, case.site.patch)
    return tuple(side * each for side, each in zip(case.site.grid, factor, strict=True))


LAWS: dict[str, tuple[Law[Case], ...]] = {"downsampler": (keeps_places, returns_its_grid, widens_a_subset)}
