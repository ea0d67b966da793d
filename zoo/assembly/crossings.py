"""Where what one part does crosses what others do: blocks that take others' outputs, routes, shared conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.schedule import StageShape, as_written
from zoo.sites import Built, Shape

Problem = tuple[str, str]
"""A kind, and what is wrong with a part of it."""


def crossings(shape: Shape, built: Built) -> Iterator[Problem]:
    """Every way in which parts that are each right do not go together in this backbone."""
    router = built["router"][None]
    routed = range(router.first, router.stop)
    yield from _takes(shape, built["block"], routed)
    yield from _route(shape, routed, spans_widths=router.spans_widths)
    yield from _tokens_in_front(shape, built)


def _takes(shape: Shape, blocks: Mapping[Any, Any], routed: range) -> Iterator[Problem]:
    for index, block in blocks.items():
        for taken in block.takes:
            if not (isinstance(taken, int) and 0 <= taken < index):
                yield "block", f"block {index} takes the output of block {taken}, which is none before it"
                continue
            if (index in routed) != (taken in routed):
                inside = (
                    f"of blocks {routed.start} to {routed.stop - 1}, which a router sends some of the tokens through"
                )
                yield "block", f"block {index} takes the output of block {taken}, and one of the two is {inside}"
            for number, stage in enumerate(shape.stages):
                nodes = [level.node for level in stage.levels for _ in range(level.blocks)]
                if nodes[taken] != nodes[index]:
                    (there, width), (here, own) = nodes[taken], nodes[index]
                    yield (
                        "block",
                        f"block {index} takes the output of block {taken}, which in stage {number} is at patch"
                        f" {as_written(there)} and width {width}, and its own are {as_written(here)} and {own}",
                    )
                    break


def _route(shape: Shape, routed: range, *, spans_widths: bool) -> Iterator[Problem]:
    if not routed:
        return
    if routed.start < 0 or routed.stop > shape.depth:
        yield "router", f"blocks {routed.start} to {routed.stop - 1}, and backbone.depth is {shape.depth}"
        return
    for number, stage in enumerate(shape.stages):
        for first in _firsts(stage):
            widths = [level.dim for level in stage.levels for _ in range(level.blocks)]
            changes = first == routed.stop and widths[first - 1] != widths[first] and not spans_widths
            if routed.start < first < routed.stop or changes:
                yield (
                    "router",
                    f"leaves out tokens in blocks {routed.start} to {routed.stop - 1}, and in stage {number} a level"
                    f" begins at block {first}"
                    + (", of another width" if changes else "")
                    + "; let routes lie within a level",
                )
                break


def _tokens_in_front(shape: Shape, built: Built) -> Iterator[Problem]:
    others = {node.dim for node in shape.nodes if shape.condition_dim(node.dim) != node.dim}
    for kind, attribute in (("class_conditioner", "class_tokens"), ("modulation", "tokens")):
        if others and any(getattr(part, attribute) for part in built[kind].values()):
            yield (
                kind,
                f"puts tokens of width {shape.dim} in front, and there are levels of width"
                f" {', '.join(map(str, sorted(others)))}; take backbone.condition: per_width",
            )


def _firsts(stage: StageShape) -> list[int]:
    return [sum(level.blocks for level in stage.levels[:number]) for number in range(1, len(stage.levels))]
