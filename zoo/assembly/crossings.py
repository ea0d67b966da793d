"""Where what one part does crosses what others do: outputs that blocks take, routes, conditions of every width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

from torch import nn

from zoo.parts.facts import PUT_IN_FRONT, facts_of
from zoo.schedule import as_written
from zoo.shape import Shape, block_dims
from zoo.sites import Built, Site, assembly

Problem = tuple[str, Any, str]
"""A kind, the key of a part of it, and what is wrong with that."""


def crossings(shape: Shape, built: Built) -> Iterator[Problem]:
    """Every way in which parts that are each right do not go together in this backbone."""
    router = built["router"][None]
    routed = range(router.first, router.stop)
    yield from _takes(shape, built["block"], routed)
    yield from _route(shape, routed, router.spans_widths)
    yield from _tokens_in_front(shape, built)
    yield from _heads(built["head"])
    ((_, whole),) = assembly(shape, built)
    yield from _conditions(shape, built, whole)
    yield from _contexts(shape, built, routed)


def _takes(shape: Shape, blocks: Mapping[Any, Any], routed: range) -> Iterator[Problem]:
    for index, block in blocks.items():
        for taken in block.takes:
            if not 0 <= taken < index:
                yield "block", index, f"block {index} takes the output of block {taken}, which is none before it"
                continue
            if (index in routed) != (taken in routed):
                inside = (
                    f"of blocks {routed.start} to {routed.stop - 1}, which a router sends some of the tokens through"
                )
                yield "block", index, f"block {index} takes the output of block {taken}, and one of the two is {inside}"
            for number, stage in enumerate(shape.stages):
                nodes = [level.node for level in stage.levels for _ in range(level.blocks)]
                if nodes[taken] != nodes[index]:
                    (there, width), (here, own) = nodes[taken], nodes[index]
                    yield (
                        "block",
                        index,
                        f"block {index} takes the output of block {taken}, which in stage {number} is at patch"
                        f" {as_written(there)} and width {width}, and its own are {as_written(here)} and {own}",
                    )
                    break


def _route(shape: Shape, routed: range, spans_widths: bool) -> Iterator[Problem]:
    if not routed:
        return
    if routed.stop > shape.depth:
        yield "router", None, f"its stop, block {routed.stop}, is beyond the last: backbone.depth is {shape.depth}"
        return
    for number, stage in enumerate(shape.stages):
        begins = accumulate(level.blocks for level in stage.levels[:-1])
        for first, (level, after) in zip(begins, pairwise(stage.levels), strict=True):
            (here, width), (there, next_width) = level.node, after.node
            if spans_widths and first == routed.stop and here != there and width != next_width:
                yield (
                    "router",
                    None,
                    f"brings back tokens of the width of block {first}, {next_width}, and in stage {number} they come"
                    f" back at patch {as_written(here)}, of width {width}, before they go to patch"
                    f" {as_written(there)}; let the two levels have one patch or one width",
                )
                break
            if routed.start < first < routed.stop:
                yield (
                    "router",
                    None,
                    f"leaves out tokens in blocks {routed.start} to {routed.stop - 1}, and in stage {number} a level"
                    f" begins at block {first}; let routes lie within a level",
                )
                break


def _tokens_in_front(shape: Shape, built: Built) -> Iterator[Problem]:
    others = {node.dim for node in shape.nodes if shape.condition_dim(node.dim) != node.dim}
    for kind, attribute in PUT_IN_FRONT.items():
        if others and any(getattr(part, attribute) for part in built[kind].values()):
            yield (
                kind,
                next(iter(built[kind])),
                f"puts tokens of width {shape.dim} in front, and there are levels of width"
                f" {_listed(list(others))}; take backbone.condition: per_width",
            )


def _heads(heads: Mapping[Any, Any]) -> Iterator[Problem]:
    vectors: dict[int, int] = {}
    for node, head in heads.items():
        own, other = head.modulation_vectors, vectors.setdefault(node.dim, head.modulation_vectors)
        if own != other:
            yield (
                "head",
                node,
                f"takes {own} vectors of the modulation at patch {as_written(node.patch)} and {other} at another of"
                f" width {node.dim}; let heads of one width take the same number",
            )


def _conditions(shape: Shape, built: Built, whole: Site) -> Iterator[Problem]:
    """Weights that make a condition which steers nothing would have no gradient."""
    slots = (*whole.blocks, *whole.heads_by_width.values())
    steering = {slot.condition for slot in slots if slot.vectors}
    idle = [width for width in shape.widths if width not in steering and _learns(built, width)]
    if built["modulation"][None].tokens or not idle:
        return
    if not steering:
        message = (
            "nothing is steered by the noise level: no block and no head takes vectors of the modulation, and it puts"
            " no tokens in front; take a modulation that does, such as in_context, or a head that takes vectors"
        )
    else:
        message = (
            f"no block and no head takes vectors of the condition of width {_listed(idle)}, which would be learned in"
            " vain; take backbone.condition: shared, or parts that take some"
        )
    yield "time_embedder", idle[0], message


def _learns(built: Built, width: int) -> bool:
    """Whether anything that makes the sum of a condition at a width has weights."""
    parts = [built["time_embedder"][width], built["stage_embedder"][width]]
    conditioner = built["class_conditioner"][width]
    if "label" in facts_of(conditioner).gives:  # else it makes tokens or a context
        parts.append(conditioner)
    return any(True for part in parts for _ in part.parameters())


def _contexts(shape: Shape, built: Built, routed: range) -> Iterator[Problem]:
    dims, blocks, conditioners = block_dims(shape), built["block"].values(), built["class_conditioner"]
    attending = {shape.condition_dim(dim) for dim, block in zip(dims, blocks, strict=True) if _takes_context(block)}
    if _takes_context(built["router"][None]):  # which gets that of the level where its route begins
        attending |= {shape.condition_dim(dim) for dim in dims[routed.start : routed.stop][:1]}
    giving = [width for width in shape.widths if "context" in facts_of(conditioners[width]).gives]
    idle = [width for width in giving if width not in attending]
    if attending and idle:  # where none attends, facts tell
        yield (
            "class_conditioner",
            idle[0],
            f"gives a context of width {_listed(idle)} that no block attends to; take backbone.condition: shared, or"
            " blocks that do",
        )


def _takes_context(part: nn.Module) -> bool:
    return "context" in facts_of(part).takes


def _listed(widths: list[int]) -> str:
    return ", ".join(map(str, sorted(widths)))
