"""Cases of a part, as hypothesis draws them: its options, those of the parts inside it, and a small site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from zoo.errors import dotted
from zoo.part_entries import PartEntry
from zoo.recipe.parts import PartSpec
from zoo.registry import Registry
from zoo.sites import Site
from zoo.testing.cases import Case
from zoo.testing.drawn_sites import Corner, axes_given, sites
from zoo.testing.recipes import BUILT_IN, scheduled
from zoo.testing.strategies import on_axes, options


def cases(
    entry: PartEntry,
    drawn: st.SearchStrategy[dict[str, Any]] | None = None,
    given: Mapping[str, Any] | None = None,
    corner: Corner | None = None,
) -> st.SearchStrategy[Case]:
    """Cases of a part: options from its schema or from ``drawn``, a small site, or what of it is ``given``.

    The site is in a ``corner``, where there is one.

    Raises:
        TypeError: zoo supplies no such value, or an option is of a type that cannot be drawn.
    """
    known = [each.name for each in fields(Site)]
    unknown = [name for name in given or () if name not in known]
    if unknown:
        raise TypeError(f"supplied: zoo supplies no {', '.join(unknown)} to any part; give some of {', '.join(known)}")
    if drawn is None and entry.kind == "patch_schedule" and entry.name in BUILT_IN:
        return _schedules(entry, given or {})
    return _cases(entry, options(entry, _built_in()) if drawn is None else drawn, given or {}, corner)


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
    draw: st.DrawFn,
    entry: PartEntry,
    drawn: st.SearchStrategy[dict[str, Any]],
    given: Mapping[str, Any],
    corner: Corner | None,
) -> Case:
    site = replace(draw(sites(entry, axes_given(given), corner)), **given)
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
