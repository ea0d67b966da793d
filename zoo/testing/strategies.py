"""Hypothesis strategies: options of any part, and the small sizes that parts are tried at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import EnumType
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from zoo.errors import DataError
from zoo.part_entries import PartEntry
from zoo.registry import Registry
from zoo.schedule import Grid, Patch
from zoo.signature import Place, type_as_written

PATCH = get_args(Patch)[0]

SPAN = 4
"""How far above its lower bound a number is drawn, so that parts stay small."""

GRIDS: Mapping[int, Sequence[Grid]] = {
    1: [(2,), (3,)],
    2: [(1, 2), (2, 1), (2, 3), (3, 2), (2, 2)],
    3: [(1, 2, 2), (2, 1, 3), (2, 2, 1)],
}
"""Tokens per side, by axes: never one token alone."""


Options = st.SearchStrategy[dict[str, Any]] | Mapping[str, Any]
"""Of a part, or a strategy of them."""

Given = Mapping[str, Options]
"""Those that are not drawn from the schema, by ``kind/name`` of the part."""


class NotDrawnError(TypeError):
    """Nothing can be drawn for an option without a default."""


def strategy_of(chosen: Options) -> st.SearchStrategy[dict[str, Any]]:
    """Of options that are always the same, too."""
    return st.just(dict(chosen)) if isinstance(chosen, Mapping) else chosen


def options(entry: PartEntry, registry: Registry | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Valid options of a part, as a recipe would write them, drawn from its derived schema.

    One that may be None is left out where it is, which is how a recipe says so.

    Args:
        entry: the part.
        registry: to choose the parts inside it from, of those that need nothing of other parts; left out, they are
            what the part says.

    Raises:
        NotDrawnError: an option without a default, of a type that has no strategy here; one with a default is left out.
        DataError: one is a path, which nothing can be drawn for.
    """
    fields = entry.signature.options.model_fields
    nested = (
        {name: _nested(inside.kind, registry) for name, inside in entry.signature.parts.items()} if registry else {}
    )
    return st.fixed_dictionaries(
        {
            **{name: _values(entry, name, field) for name, field in fields.items() if field.is_required()},
            **{name: drawn for name, drawn in nested.items() if entry.signature.parts[name].required},
        },
        optional={
            **{
                name: values
                for name, field in fields.items()
                if not field.is_required()
                if (values := _values_or_default(entry, name, field)) is not None
            },
            **{name: drawn for name, drawn in nested.items() if not entry.signature.parts[name].required},
        },
    )


def _nested(kind: str, registry: Registry) -> st.SearchStrategy[dict[str, Any]]:
    """Parts inside a part; those inside these are what they say, so that an end comes."""
    alone = [entry for entry in registry.entries(kind) if not getattr(entry.cls, "needs", ())]
    return st.one_of([written(entry, None) for entry in alone])


def written(
    entry: PartEntry, registry: Registry | None, given: Given | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    """A part as a recipe would write it, with the options that are given or else drawn."""
    own = (given or {}).get(f"{entry.kind}/{entry.name}")
    drawn = options(entry, registry) if own is None else strategy_of(own)
    return drawn.map(lambda drawn: {"type": entry.name, **drawn})


def _values_or_default(entry: PartEntry, name: str, field: FieldInfo) -> st.SearchStrategy[Any] | None:
    """None, for the default alone, where values of its type cannot be drawn, or None stands for no file."""
    try:
        return _values(entry, name, field)
    except NotDrawnError:
        return None
    except DataError:
        if field.default is None:
            return None
        raise


def _values(entry: PartEntry, name: str, field: FieldInfo) -> st.SearchStrategy[Any]:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if isinstance(kind, EnumType):
        return st.sampled_from([member.value for member in kind])
    if kind is bool:
        return st.booleans()
    if kind == PATCH:
        return st.sampled_from([[1, 1], [2, 2], [4, 4], [2, 4]])
    if get_origin(kind) in (Union, UnionType):
        return st.one_of([_values(entry, name, each) for each in _members(field)])
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        return st.tuples(*(_values(entry, name, FieldInfo.from_annotation(each)) for each in get_args(kind))).map(list)
    if get_origin(kind) in (list, tuple):
        each = FieldInfo.from_annotation(get_args(kind)[0])
        least, most = _lengths(field.metadata)
        return st.lists(_values(entry, name, each), min_size=least, max_size=most)
    if any(isinstance(each, Place) for each in field.metadata):
        raise DataError(f"{entry.kind} {entry.name} needs a file: give the kit its option {name!r}")
    low, high = _bounds(field.metadata, whole=kind is int)
    step: Any = next((each.multiple_of for each in field.metadata if isinstance(each, MultipleOf)), 1)
    if kind is int:
        if low is None:  # around the default, since what lies far from it may be out of reason
            low = 1 if field.default is None else (field.default if isinstance(field.default, int) else 0) - SPAN // 2
        first = -(-int(low) // step)
        last = first + SPAN if high is None else min(first + SPAN, int(high) // step)
        return st.integers(first, last).map(lambda count: count * step)
    if kind is float:
        start = float((0 if field.default is None else -1) if low is None else low)
        if isinstance(field.default, float):  # what lies far from the default may be out of reason
            start = max(start, field.default - SPAN / 2)
        end = start + SPAN if high is None else min(start + SPAN, float(high))
        # Sixteenths: exact in every precision, and none next to an open bound.
        return st.integers(1, 15).map(lambda step: start + (end - start) * step / 16)
    part, test = f"{entry.kind} {entry.name}", f"laws_of_parts(Mine, options={{'{entry.kind}/{entry.name}': {{...}}}})"
    raise NotDrawnError(
        f"{part}: the kit cannot draw option {name!r} of type {type_as_written(kind)} (but bool, int, float, Literal,"
        " Enum, Patch, and unions, lists and tuples of these): give it a default, or say what to test with, as in"
        f" check_part(Mine, options={{...}}) or {test}, or take another part"
    )


def _members(field: FieldInfo) -> Iterator[FieldInfo]:
    """What an option may be, None aside, within the bounds of all of them."""
    for each in get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else ():
        if each is not NoneType:
            member = FieldInfo.from_annotation(each)
            member.default, member.metadata = field.default, [*field.metadata, *member.metadata]
            yield member


def on_axes(entry: PartEntry, name: str, value: Any, axes: int) -> Any:
    """A patch that was drawn for two axes for as many as there are."""
    field = entry.signature.options.model_fields.get(name)
    kinds = () if field is None else (field.annotation, *(each.annotation for each in _members(field)))
    if PATCH not in kinds or not isinstance(value, list):
        return value
    return [value[axis % len(value)] for axis in range(axes)]


def _lengths(metadata: list[Any]) -> tuple[int, int]:
    """Of a list: at least one, and few, unless its bounds say otherwise."""
    least = next((each.min_length for each in metadata if isinstance(each, MinLen)), 1)
    most = next((each.max_length for each in metadata if isinstance(each, MaxLen)), None)
    return least, least + SPAN // 2 if most is None else min(most, least + SPAN // 2)


def _bounds(metadata: list[Any], *, whole: bool) -> tuple[float | None, float | None]:
    low: Any = None
    high: Any = None
    for each in metadata:
        if isinstance(each, Ge):
            low = each.ge
        elif isinstance(each, Gt):
            low = float(each.gt) + whole  # type: ignore[arg-type]  # a number, as the option is
        elif isinstance(each, Le):
            high = each.le
        elif isinstance(each, Lt):
            high = float(each.lt) - whole  # type: ignore[arg-type]
    return low, high


def head_dims(axes: int) -> st.SearchStrategy[int]:
    """Small widths of a head, which sines and pairs for every axis divide."""
    return st.sampled_from([8, 16] if axes < 3 else [12, 24])
