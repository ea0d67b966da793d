"""Hypothesis strategies: options of any part, and random assemblies."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from zoo.kinds import BACKBONE_KINDS
from zoo.registry import PartEntry, Registry

SPAN = 4
"""How far above its lower bound a number is drawn, so that parts stay small."""


def options(entry: PartEntry) -> st.SearchStrategy[dict[str, Any]]:
    """Valid options of a part, as a recipe would write them, drawn from its derived schema.

    Those that may be None are left out, which is how a recipe says None.

    Raises:
        TypeError: an option of a type that has no strategy here.
    """
    fields = entry.signature.options.model_fields
    return st.fixed_dictionaries(
        {name: _values(name, field) for name, field in fields.items() if field.is_required()},
        optional={
            name: _values(name, field)
            for name, field in fields.items()
            if not field.is_required() and field.default is not None
        },
    )


def _values(name: str, field: FieldInfo) -> st.SearchStrategy[Any]:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if kind is bool:
        return st.booleans()
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
    raise TypeError(f"option {name!r} of type {kind} has no strategy here; pass one of your own")


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


@st.composite
def recipes(draw: st.DrawFn, /, registry: Registry, **fixed: str) -> dict[str, Any]:
    """Random small recipes as plain values, over all parts of the registry and all four built-in schedules.

    Latents and patches need not be square; every grid has at least two tokens. Where parts do not go together (rotary
    positions, and a block without), ``load_recipe`` refuses them.

    Args:
        draw: given by hypothesis.
        registry: the parts to choose from.
        fixed: kinds whose part is not drawn, such as ``block="dit"``.
    """
    patches, height, width = draw(_patch_chains())
    depth = draw(st.integers(len(patches), 4))
    heads = draw(st.integers(1, 2))
    parts = {}
    for kind in BACKBONE_KINDS:
        if kind == "patch_schedule":
            continue
        entries = [entry for entry in registry.entries(kind) if fixed.get(kind, entry.name) == entry.name]
        entry = draw(st.sampled_from(entries))
        parts[kind] = {"type": entry.name, **draw(options(entry))}
    return {
        "backbone": {
            "latent": {"channels": draw(st.integers(1, 16)), "height": height, "width": width},
            "num_classes": draw(st.integers(1, 5)),
            "dim": 8 * heads * draw(st.integers(1, 2)),
            "depth": depth,
            "heads": heads,
            "skip": draw(st.sampled_from(["linear", "none"])),
            "patch_schedule": draw(_schedules(patches, depth)),
            **parts,
        }
    }


@st.composite
def _patch_chains(draw: st.DrawFn) -> tuple[list[list[int]], int, int]:
    """Patches from coarse to fine, each a multiple of the next, and a latent that the coarsest divides."""
    chain = [draw(st.sampled_from([[1, 1], [2, 2], [1, 2], [3, 1]]))]
    for ratio in draw(st.lists(st.sampled_from([(2, 2), (1, 2), (2, 1), (3, 1)]), max_size=2)):
        chain.insert(0, [chain[0][0] * ratio[0], chain[0][1] * ratio[1]])
    rows, columns = draw(st.sampled_from([(1, 2), (2, 1), (2, 2), (1, 3)]))
    return chain, rows * chain[0][0], columns * chain[0][1]


@st.composite
def _schedules(draw: st.DrawFn, patches: list[list[int]], depth: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["uniform", "by_depth", "by_timestep", "by_depth_and_timestep"]))
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
