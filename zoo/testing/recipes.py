"""Hypothesis strategies: random assemblies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import lcm
from operator import mul
from typing import Any

from hypothesis import strategies as st

from zoo.attributes import said_by
from zoo.errors import did_you_mean
from zoo.kinds import BACKBONE_KINDS
from zoo.part_entries import PartEntry
from zoo.registry import Registry
from zoo.schedule import AXES, Grid, StageShape, is_finer, resolved
from zoo.shape import kept_before
from zoo.testing.strategies import GRIDS, Given, head_dims, on_axes, written

BUILT_IN = ("uniform", "by_depth", "by_timestep", "by_depth_and_timestep")
"""Schedules whose options depend on each other, and are drawn so that they fit."""

RATIOS: Mapping[int, Sequence[Grid]] = {
    1: [(2,), (3,)],
    2: [(2, 2), (1, 2), (2, 1), (3, 1)],
    3: [(1, 2, 2), (2, 1, 1), (1, 1, 2)],
}
"""How many times a patch is the next finer one, by axes."""

DEPTH = 4
"""Blocks at most."""


def recipes(registry: Registry, given: Given | None = None, **fixed: str) -> st.SearchStrategy[dict[str, Any]]:
    """Random small recipes as plain values, over all parts of the registry.

    Latents have one to three axes, where the parts say that they take them, and need not be square; every grid has at
    least two tokens. Levels go to finer and coarser patches, and to other widths. Where parts do not go together,
    ``load_recipe`` refuses them; those of which their classes say so are seldom drawn.

    Args:
        registry: the parts to choose from.
        given: options that are not drawn from the schema, by ``kind/name``.
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
    return _recipes({kind: _entries(registry, kind, fixed.get(kind)) for kind in BACKBONE_KINDS}, registry, given or {})


def _entries(registry: Registry, kind: str, fixed: str | None) -> list[PartEntry]:
    return [entry for entry in registry.entries(kind) if fixed in (None, entry.name)]


@st.composite
def _recipes(
    draw: st.DrawFn, entries: Mapping[str, Sequence[PartEntry]], registry: Registry, given: Given
) -> dict[str, Any]:
    later = ("block", "modulation", "upsampler", "skip", "router")
    chosen = {kind: draw(st.sampled_from(some)) for kind, some in entries.items() if kind not in later}
    blocks = [draw(st.sampled_from(entries["block"])) for _ in range(2)]
    axes = draw(st.sampled_from(_axes_of([*chosen.values(), *blocks])))
    heads, head_dim = draw(st.integers(1, 2)), draw(head_dims(axes))
    schedule = chosen.pop("patch_schedule")
    depth, patch_schedule, size = draw(scheduled(schedule, axes, heads * head_dim, given))
    stages = _stages(schedule, patch_schedule, depth, axes, heads * head_dim, heads)
    steered = any(said_by(entry.cls, "modulation_vectors", 6) for entry in blocks)
    chosen["modulation"] = draw(_preferred(entries["modulation"], "gives", "vectors", want=steered))
    for kind, says in (("upsampler", "needs"), ("skip", "feeds")):
        some = entries[kind]
        chosen[kind] = draw(st.sampled_from(some) if _all_kept(stages) else _preferred(some, says, "kept"))
    router = draw(st.sampled_from(entries["router"]))
    return {
        "backbone": {
            "latent": {"channels": draw(st.integers(1, 16)), "size": list(size)},
            "num_classes": draw(st.integers(1, 5)),
            "dim": heads * head_dim,
            "depth": depth,
            "heads": heads,
            "condition": draw(st.sampled_from(["per_width", "shared"])),
            "patch_schedule": patch_schedule,
            "block": draw(_runs(blocks, registry, given, depth)),
            "router": draw(_routes(router, given, stages)),
            **{kind: draw(written(entry, registry, given)) for kind, entry in chosen.items()},
        },
    }


@st.composite
def _runs(draw: st.DrawFn, entries: Sequence[PartEntry], registry: Registry, given: Given, depth: int) -> Any:
    """All blocks of one part, or a run of each."""
    one, other = (draw(written(entry, registry, given)) for entry in entries)
    first = draw(st.integers(0, depth - 1))
    return [{**one, "blocks": first}, {**other, "blocks": depth - first}] if first else other


def _axes_of(entries: Any) -> list[int]:
    """Numbers of axes that all parts take, as far as their classes say; two, which most authors have in mind, first."""
    taken = set(AXES).intersection(*(said_by(entry.cls, "axes", AXES) for entry in entries))
    return sorted(taken, key=lambda axes: (axes != 2, axes)) or [2]


def _preferred(
    entries: Sequence[PartEntry], attribute: str, fact: str, *, want: bool = False
) -> st.SearchStrategy[PartEntry]:
    """Those whose classes say a fact, or do not; all, where there is none."""
    some = [entry for entry in entries if (fact in said_by(entry.cls, attribute, ())) == want]
    return st.sampled_from(some or entries)


def _stages(
    entry: PartEntry, values: Mapping[str, Any], depth: int, axes: int, dim: int, heads: int
) -> tuple[StageShape, ...]:
    """Of a drawn schedule; none where it fails, which load_recipe tells."""
    chosen = json.dumps({name: value for name, value in values.items() if name != "type"})
    try:
        schedule = entry.create(entry.signature.options.model_validate_json(chosen), {"depth": depth, "axes": axes})
        return resolved(schedule.stages(), axes, dim, heads)
    except Exception:
        return ()


def _all_kept(stages: Sequence[StageShape]) -> bool:
    """Whether every way up leads to a patch that was left on a way down."""
    return all(
        after.patch in kept_before(stage)[place]
        for stage in stages
        for place, (before, after) in enumerate(pairwise(stage.levels), start=1)
        if is_finer(after.patch, before.patch)
    )


@st.composite
def _routes(draw: st.DrawFn, entry: PartEntry, given: Given, stages: Sequence[StageShape]) -> dict[str, Any]:
    """A router; where they are the ends of a route, it lies in a level of every stage."""
    drawn = draw(written(entry, None, given))
    if not stages or not {"first", "stop"} <= set(entry.signature.options.model_fields):
        return drawn
    ends = {0}
    for stage in stages:
        for number in range(len(stage.levels)):
            ends.add(sum(level.blocks for level in stage.levels[: number + 1]))
    low, high = draw(st.sampled_from(list(pairwise(sorted(ends)))))
    first = draw(st.integers(low, high - 1))
    return {**drawn, "first": first, "stop": draw(st.integers(first + 1, high))}


@st.composite
def scheduled(
    draw: st.DrawFn, entry: PartEntry, axes: int, dim: int, given: Given | None = None
) -> tuple[int, dict[str, Any], Grid]:
    """A depth, a schedule for it, and a size of latents that all of its patches divide."""
    grid = draw(st.sampled_from(GRIDS[axes]))
    if entry.name in BUILT_IN:
        chain = draw(_chains(axes))
        depth = draw(st.integers(1, DEPTH))
        size = tuple(side * pixels for side, pixels in zip(grid, chain[0], strict=True))
        return depth, draw(_schedules(entry.name, chain, depth, dim)), size
    depth, drawn = draw(st.integers(1, DEPTH)), draw(written(entry, None, given))
    values = {name: on_axes(entry, name, value, axes) for name, value in drawn.items()}
    stages = _stages(entry, values, depth, axes, dim, 1)
    patches = [tuple(map(mul, stage.scale, level.patch)) for stage in stages for level in stage.levels]
    sides = [lcm(*each) for each in zip(*patches, strict=True)] or [1] * axes
    return depth, values, tuple(a * b for a, b in zip(grid, sides, strict=True))


@st.composite
def _chains(draw: st.DrawFn, axes: int) -> list[Grid]:
    """Patches from coarse to fine, each a multiple of the next."""
    ratios = RATIOS[axes]
    chain: list[Grid] = [draw(st.sampled_from([(1,) * axes, (2,) * axes, *ratios]))]
    for ratio in draw(st.lists(st.sampled_from(ratios), min_size=1, max_size=2)):
        chain.insert(0, tuple(side * each for side, each in zip(chain[0], ratio, strict=True)))
    return chain


@st.composite
def _schedules(draw: st.DrawFn, kind: str, chain: list[Grid], depth: int, dim: int) -> dict[str, Any]:
    patches = st.sampled_from(chain).map(list)
    if kind == "uniform":
        return {"type": kind, "patch": draw(patches)}
    widths = draw(_widths(depth, dim))
    if kind == "by_depth":
        return {"type": kind, "levels": draw(_levels(chain, depth, widths))}
    thresholds = draw(st.lists(st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.75, 0.9]), unique=True, max_size=2))
    stages: list[dict[str, Any]] = [
        {"noise_above": threshold} for threshold in [*sorted(thresholds, reverse=True), 0.0]
    ]
    for stage in stages:
        if kind == "by_timestep":
            stage["patch"] = draw(patches)
        else:
            stage["levels"] = draw(_levels(chain, depth, widths))
    return {"type": kind, "stages": stages, "ties": draw(st.sampled_from(["cleaner", "noisier"]))}


@st.composite
def _widths(draw: st.DrawFn, depth: int, dim: int) -> list[dict[str, int]]:
    """What every block's level says of its width and heads, which are the same in all stages: two at most."""
    wide: dict[str, int] = {"dim": 2 * dim, **draw(st.sampled_from([{}, {"heads": 1}]))}
    cut = draw(st.integers(1, depth))
    before, after = draw(st.sampled_from([({}, {}), ({}, wide), (wide, {})]))
    return [before if block < cut else after for block in range(depth)]


@st.composite
def _levels(
    draw: st.DrawFn, chain: list[Grid], depth: int, widths: Sequence[Mapping[str, int]]
) -> list[dict[str, Any]]:
    """Levels that go to finer and to coarser patches, often back to the first, cut where the width changes."""
    patches = [draw(st.sampled_from(chain))]
    while len(patches) < depth:
        patches.append(patches[-1] if draw(st.booleans()) else draw(st.sampled_from(chain)))
    if draw(st.booleans()):
        patches[-1] = patches[0]
    levels: list[dict[str, Any]] = []
    for patch, width in zip(patches, widths, strict=True):
        own = {"patch": list(patch), **width}
        if levels and {name: value for name, value in levels[-1].items() if name != "blocks"} == own:
            levels[-1]["blocks"] += 1
        else:
            levels.append({**own, "blocks": 1})
    return levels
