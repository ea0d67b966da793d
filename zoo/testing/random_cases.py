"""Cases of a part, as hypothesis draws them: its options, those of the parts inside it, and a small site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from zoo.attributes import said_by
from zoo.errors import dotted
from zoo.kinds import KINDS
from zoo.recipe.parts import PartSpec
from zoo.registry import PartEntry, Registry
from zoo.schedule import AXES, LevelShape, StageShape
from zoo.shape import Place, places_in
from zoo.sites import Site, Slot
from zoo.testing.cases import Case, Shape
from zoo.testing.recipes import BUILT_IN, scheduled
from zoo.testing.strategies import GRIDS, head_dims, on_axes, options


def cases(
    entry: PartEntry,
    drawn: st.SearchStrategy[dict[str, Any]] | None = None,
    given: Mapping[str, Any] | None = None,
) -> st.SearchStrategy[Case]:
    """Cases of a part: options from its schema or from ``drawn``, a small site, or what of it is ``given``.

    Raises:
        TypeError: zoo supplies no such value, or an option is of a type that cannot be drawn.
    """
    known = [each.name for each in fields(Site)]
    unknown = [name for name in given or () if name not in known]
    if unknown:
        raise TypeError(f"supplied: zoo supplies no {', '.join(unknown)} to any part (only {', '.join(known)})")
    if drawn is None and entry.kind == "patch_schedule" and entry.name in BUILT_IN:
        return _schedules(entry, given or {})
    return _cases(entry, options(entry, _built_in()) if drawn is None else drawn, given or {})


@cache
def _built_in() -> Registry:
    return Registry()


def _spec_of(kind: str, written: Mapping[str, Any]) -> PartSpec:
    """A built-in part as a recipe writes it."""
    entry = _built_in().get(kind, written["type"])
    inside = entry.signature.parts
    parts = {name: written[name] and _spec_of(inside[name].kind, written[name]) for name in inside if name in written}
    values = {name: value for name, value in written.items() if name != "type" and name not in inside}
    return PartSpec(entry=entry, options=entry.signature.options.model_validate(values), parts=parts)


@st.composite
def _cases(
    draw: st.DrawFn, entry: PartEntry, drawn: st.SearchStrategy[dict[str, Any]], given: Mapping[str, Any]
) -> Case:
    axes = given.get("axes", len(given["size"]) if "size" in given else None)
    site = replace(draw(sites(entry, axes)), **given)
    chosen, inside = draw(drawn), entry.signature.parts
    values = {name: on_axes(entry, name, value, site.axes) for name, value in chosen.items() if name not in inside}
    parts = {name: _spec_of(inside[name].kind, value) for name, value in chosen.items() if name in inside}
    return Case(entry, _validated(entry, values), site, draw(st.integers(0, 2**31)), parts)


@st.composite
def _schedules(draw: st.DrawFn, entry: PartEntry, given: Mapping[str, Any]) -> Case:
    """Those whose options have to fit the depth."""
    site = replace(draw(sites(entry, given.get("axes"))), **given)
    depth, chosen, size = draw(scheduled(entry, site.axes, site.dim))
    values = {name: value for name, value in chosen.items() if name != "type"}
    return Case(entry, _validated(entry, values), replace(site, depth=depth, size=size), draw(st.integers(0, 2**31)))


def _validated(entry: PartEntry, values: dict[str, Any]) -> BaseModel:
    """Options as a recipe writes them.

    Raises:
        TypeError: the part has no such options.
    """
    try:
        return entry.signature.options.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        raise TypeError(f"options: {entry.kind} {entry.name}: {dotted(first['loc'])}: {first['msg']}") from None


@st.composite
def sites(draw: st.DrawFn, entry: PartEntry, axes: int | None = None) -> Site:
    """Sites of a part, of small sizes, on as many axes; on any that its class says it takes, if left out."""
    axes = axes or draw(st.sampled_from(sorted(said_by(entry.cls, "axes", AXES), key=lambda each: (each != 2, each))))
    sides = st.integers(1, 3)
    heads = draw(st.integers(1, 2))
    dim = heads * draw(head_dims(axes))
    next_dim = draw(st.sampled_from([dim, 2 * dim]))
    fine = tuple(draw(sides) for _ in range(axes))
    coarse = tuple(side * draw(sides) for side in fine)
    down = KINDS[entry.kind].per == "downs"
    widths = draw(st.sampled_from([(dim,), (dim, 2 * dim)]))
    vectors = st.integers(0, 6)
    shape = [(each, draw(st.integers(1, 3))) for each in draw(st.sampled_from([(1,), (1, 2, 1)]))]  # also down and up
    depth = sum(count for _, count in shape)
    index, stages = draw(st.integers(0, depth - 1)), draw(st.integers(1, 3))
    places = tuple(
        _places(shape, dim, heads, tuple(side << stage for side in coarse))[index] for stage in range(stages)
    )
    return Site(
        axes=axes,
        channels=draw(st.integers(1, 16)),
        num_classes=draw(st.integers(1, 5)),
        depth=depth,
        stages=stages,
        dim=dim,
        next_dim=next_dim,
        kept_dim=draw(st.sampled_from([next_dim, dim, *([None] if "kept" in said_by(entry.cls, "uses", ()) else [])])),
        condition_dim=draw(st.sampled_from([dim, 2 * dim])),
        heads=heads,
        patch=fine if down else coarse,
        next_patch=coarse if down else fine,
        grid=(grid := draw(st.sampled_from(GRIDS[axes]))),
        size=tuple(side * pixels for side, pixels in zip(grid, fine if down else coarse, strict=True)),
        stride=tuple(a / b for a, b in zip(coarse, fine, strict=True)),
        m=draw(st.integers(0, 3)),
        index=index,
        places=places,
        blocks=tuple(
            Slot(width, width, draw(vectors)) for width in (draw(st.sampled_from(widths)) for _ in range(depth))
        ),
        heads_by_width={width: Slot(width, width, draw(st.sampled_from([0, 2]))) for width in widths},
        widths=widths,
        has_label=draw(st.booleans()),
    )


def _places(shape: list[tuple[int, int]], dim: int, heads: int, patch: Shape) -> list[Place]:
    """Of all blocks of a stage, whose levels have so many times the patch, and so many blocks."""
    levels = (LevelShape(tuple(each * side for side in patch), count, dim, heads) for each, count in shape)
    return places_in(StageShape(0.0, tuple(levels), (1,) * len(patch)))
