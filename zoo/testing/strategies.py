"""Hypothesis strategies: options of any part, and random assemblies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import lcm
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from zoo.errors import did_you_mean
from zoo.kinds import BACKBONE_KINDS
from zoo.registry import PartEntry, Registry
from zoo.schedule import Patch, patches_of

SPAN = 4
"""How far above its lower bound a number is drawn, so that parts stay small."""

BUILT_IN = ("uniform", "by_depth", "by_timestep", "by_depth_and_timestep")
"""Schedules whose options depend on each other, and are drawn so that they fit."""

_GRIDS = st.sampled_from([(1, 2), (2, 1), (2, 2), (1, 3)])


def options(entry: PartEntry, registry: Registry | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Valid options of a part, as a recipe would write them, drawn from its derived schema.

    Those that may be None are left out, which is how a recipe says None.

    Args:
        entry: the part.
        registry: to choose the parts inside it from, of those that need nothing of other parts; left out, they are
            what the part says.

    Raises:
        TypeError: an option of a type that has no strategy here.
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
                name: _values(entry, name, field)
                for name, field in fields.items()
                if not field.is_required() and field.default is not None
            },
            **{name: drawn for name, drawn in nested.items() if not entry.signature.parts[name].required},
        },
    )


def _nested(kind: str, registry: Registry) -> st.SearchStrategy[dict[str, Any]]:
    """Parts inside a part; those inside these are what they say, so that an end comes."""
    alone = [entry for entry in registry.entries(kind) if not getattr(entry.cls, "needs", ())]
    return st.one_of([_part(entry, None) for entry in alone])


def _part(entry: PartEntry, registry: Registry | None) -> st.SearchStrategy[dict[str, Any]]:
    return options(entry, registry).map(lambda drawn: {"type": entry.name, **drawn})


def _values(entry: PartEntry, name: str, field: FieldInfo) -> st.SearchStrategy[Any]:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if kind is bool:
        return st.booleans()
    if kind == get_args(Patch)[0]:
        return st.sampled_from([[1, 1], [2, 2], [4, 4], [2, 4]])
    low, high = _bounds(field.metadata)
    step: Any = next((each.multiple_of for each in field.metadata if isinstance(each, MultipleOf)), 1)
    if kind is int:
        if low is None:  # around the default, since what lies far from it may be out of reason
            low = (field.default if isinstance(field.default, int) else 0) - SPAN // 2
        first = -(-int(low) // step)
        last = first + SPAN if high is None else min(first + SPAN, int(high) // step)
        return st.integers(first, last).map(lambda count: count * step)
    if kind is float:
        start = -1.0 if low is None else float(low)
        if isinstance(field.default, float):  # what lies far from the default may be out of reason
            start = max(start, field.default - SPAN / 2)
        end = start + SPAN if high is None else min(start + SPAN, float(high))
        # Sixteenths: exact in every precision, and none next to an open bound.
        return st.integers(1, 15).map(lambda step: start + (end - start) * step / 16)
    raise TypeError(
        f"{entry.kind} {entry.name}: option {name!r} of type {kind} has no strategy here; pass one of your own to"
        f" check_part, or another {entry.kind} to check_assemblies"
    )


def _bounds(metadata: list[Any]) -> tuple[float | None, float | None]:
    low: Any = None
    high: Any = None
    for each in metadata:
        if isinstance(each, Ge):
            low = each.ge
        elif isinstance(each, Gt):
            low = each.gt + 1 if isinstance(each.gt, int) else each.gt
        elif isinstance(each, Le):
            high = each.le
        elif isinstance(each, Lt):
            high = each.lt - 1 if isinstance(each.lt, int) else each.lt
    return low, high


def recipes(registry: Registry, **fixed: str) -> st.SearchStrategy[dict[str, Any]]:
    """Random small recipes as plain values, over all parts of the registry.

    Latents and patches need not be square; every grid has at least two tokens. Where parts do not go together (rotary
    positions, and a block without), ``load_recipe`` refuses them.

    Args:
        registry: the parts to choose from.
        fixed: kinds whose part is not drawn, such as ``block="dit"``.

    Raises:
        TypeError: the backbone has no such kind.
        PluginError: there is no such part of that kind.
    """
    for kind, name in fixed.items():
        if kind not in BACKBONE_KINDS:
            known = did_you_mean(kind, BACKBONE_KINDS) or f"; there are: {', '.join(BACKBONE_KINDS)}"
            raise TypeError(f"{kind}={name!r}: the backbone has no part of kind {kind!r}{known}")
        registry.get(kind, name)
    return _recipes({kind: _entries(registry, kind, fixed.get(kind)) for kind in BACKBONE_KINDS}, registry)


def _entries(registry: Registry, kind: str, fixed: str | None) -> list[PartEntry]:
    return [entry for entry in registry.entries(kind) if fixed in (None, entry.name)]


@st.composite
def _recipes(draw: st.DrawFn, entries: Mapping[str, Sequence[PartEntry]], registry: Registry) -> dict[str, Any]:
    chosen = {kind: draw(st.sampled_from(some)) for kind, some in entries.items()}
    schedule = chosen.pop("patch_schedule")
    depth, patch_schedule, height, width = draw(_scheduled(schedule))
    heads = draw(st.integers(1, 2))
    return {
        "backbone": {
            "latent": {"channels": draw(st.integers(1, 16)), "height": height, "width": width},
            "num_classes": draw(st.integers(1, 5)),
            "dim": 8 * heads * draw(st.integers(1, 2)),
            "depth": depth,
            "heads": heads,
            "skip": draw(st.sampled_from(["linear", "none"])),
            "patch_schedule": patch_schedule,
            **{kind: draw(_part(entry, registry)) for kind, entry in chosen.items() if kind != "block"},
            "block": draw(_blocks(entries["block"], registry, depth)),
        }
    }


@st.composite
def _blocks(draw: st.DrawFn, entries: Sequence[PartEntry], registry: Registry, depth: int) -> Any:
    """All blocks of one part, or two runs."""
    one, other = (draw(st.sampled_from(entries).flatmap(lambda entry: _part(entry, registry))) for _ in range(2))
    first = draw(st.integers(0, depth - 1))
    return [{**one, "blocks": first}, {**other, "blocks": depth - first}] if first else other


@st.composite
def _scheduled(draw: st.DrawFn, entry: PartEntry) -> tuple[int, dict[str, Any], int, int]:
    """A depth, a schedule for it, and a latent's height and width that all of its patches divide."""
    if entry.name in BUILT_IN:
        patches, height, width = draw(_patch_chains())
        depth = draw(st.integers(len(patches), 4))
        return depth, draw(_schedules(entry.name, patches, depth)), height, width
    depth, given = draw(st.integers(1, 4)), draw(options(entry))
    try:
        schedule = entry.create(entry.signature.options.model_validate(given), {"depth": depth})
        sides = [lcm(*each) for each in zip(*patches_of(schedule.stages()), strict=True)]
    except Exception:  # which load_recipe tells
        sides = [1, 1]
    rows, columns = draw(_GRIDS)
    return depth, {"type": entry.name, **given}, rows * sides[0], columns * sides[1]


@st.composite
def _patch_chains(draw: st.DrawFn) -> tuple[list[list[int]], int, int]:
    """Patches from coarse to fine, each a multiple of the next, and a latent that the coarsest divides."""
    chain = [draw(st.sampled_from([[1, 1], [2, 2], [1, 2], [3, 1]]))]
    for ratio in draw(st.lists(st.sampled_from([(2, 2), (1, 2), (2, 1), (3, 1)]), max_size=2)):
        chain.insert(0, [chain[0][0] * ratio[0], chain[0][1] * ratio[1]])
    rows, columns = draw(_GRIDS)
    return chain, rows * chain[0][0], columns * chain[0][1]


@st.composite
def _schedules(draw: st.DrawFn, kind: str, patches: list[list[int]], depth: int) -> dict[str, Any]:
    if kind == "uniform":
        return {"type": kind, "patch": draw(st.sampled_from(patches))}
    if kind == "by_depth":
        return {"type": kind, "levels": draw(_levels(patches, depth))}
    thresholds = draw(st.lists(st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.75, 0.9]), unique=True, max_size=2))
    stages: list[dict[str, Any]] = [
        {"noise_above": threshold} for threshold in [*sorted(thresholds, reverse=True), 0.0]
    ]
    for stage in stages:
        if kind == "by_timestep":
            stage["patch"] = draw(st.sampled_from(patches))
        else:
            stage["levels"] = draw(_levels(patches, depth))
    return {"type": kind, "stages": stages, "ties": draw(st.sampled_from(["cleaner", "noisier"]))}


@st.composite
def _levels(draw: st.DrawFn, patches: list[list[int]], depth: int) -> list[dict[str, Any]]:
    first = draw(st.integers(0, len(patches) - 1))
    chosen = patches[first : draw(st.integers(first + 1, len(patches)))]
    blocks = [1] * len(chosen)
    for _ in range(depth - len(chosen)):
        blocks[draw(st.integers(0, len(chosen) - 1))] += 1
    return [{"patch": patch, "blocks": count} for patch, count in zip(chosen, blocks, strict=True)]
