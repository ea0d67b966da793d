"""What comes to a part at its place: not every part sees the tokens in front, or those that a router leaves out."""

from __future__ import annotations

from typing import Any

from zoo.kinds import KINDS
from zoo.shape import Shape, block_dims
from zoo.sites import Built, Key, levels, prefix_of

SEEN = frozenset({"prefix", "subset"})
"""Facts that only those parts meet that the tokens come to."""

LAID_OUT = frozenset({"rotary", "context"})
"""Facts that a ``Layout`` brings, which only blocks and a router get."""


def unmet(shape: Shape, built: Built, kind: str, key: Any) -> frozenset[str]:
    """Facts that do not come to the part under a key, though others give them: what it can neither need nor not stand.

    Args:
        shape: of the backbone.
        built: all of its parts.
        kind: of the part.
        key: that it stands under.
    """
    router = built["router"][None]
    routed = range(router.first, router.stop)
    if kind == "router":
        return frozenset()
    if kind == "block":
        return _but(prefix=prefix_of(shape, built, block_dims(shape)[key]) > 0, subset=key in routed)
    if kind == "position":
        return LAID_OUT | _but(prefix=dict(levels(shape, built))[key].m > 0, subset=False)
    if KINDS[kind].per in ("ups", "downs") and kind != "skip":
        before, after = key
        alike = before.dim == after.dim  # else those in front stay behind
        spans = router.spans_widths and before.patch == after.patch  # else a route ends before
        return LAID_OUT | _but(
            prefix=alike and prefix_of(shape, built, before.dim) > 0, subset=spans and _begins(shape, key, routed.stop)
        )
    return SEEN | LAID_OUT  # patch embedder, skip and head get all of the image's tokens and no others; and others none


def _but(*, prefix: bool, subset: bool) -> frozenset[str]:
    return SEEN - {name for name, there in (("prefix", prefix), ("subset", subset)) if there}


def _begins(shape: Shape, pair: Key, block: int) -> bool:
    """Whether a stage goes from one level of a pair to the other where this block begins."""
    for stage in shape.stages:
        nodes = [level.node for level in stage.levels for _ in range(level.blocks)]
        if 0 < block < len(nodes) and (nodes[block - 1], nodes[block]) == pair:
            return True
    return False
