"""What the labels and the noise levels say to the blocks, held against what the kinds of the parts promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.errors import PluginError
from zoo.labels import Labels
from zoo.lockstep import Piece
from zoo.part_holder import PartHolder
from zoo.parts.values import ClassCondition, Condition, Modulations, WhenAsked
from zoo.sites import Slot


def conditions_of(backbone: PartHolder, labels: Labels | None, batch: int) -> dict[int, ClassCondition]:
    """What the labels say, at every width.

    Raises:
        PluginError: a class conditioner returned something else than it promises.
    """
    return {width: _condition(backbone, width, labels, batch) for width in backbone.shape.widths}


def modulations_of(
    backbone: PartHolder, pieces: Sequence[Piece], conditions: Mapping[int, ClassCondition]
) -> Modulations:
    """What noise levels, labels and stages say to every block and head, for the samples of all pieces.

    Raises:
        PluginError: a time embedder, a stage embedder or the modulation returned something else than it promises.
    """
    t = backbone.path.clock(_joined([piece.t for piece in pieces]))
    by_width = {width: _at_width(backbone, width, t, pieces, said) for width, said in conditions.items()}
    part = backbone.part("modulation")
    modulation = part(by_width)
    if (
        not isinstance(modulation, Modulations)
        or not isinstance(modulation.blocks, tuple | list | WhenAsked)
        or not isinstance(modulation.heads, Mapping)
        or len(modulation.blocks) != len(backbone.blocks)
    ):
        promised = f"Modulations of {len(backbone.blocks)} blocks, and of heads by width"
        raise backbone.broken_promise(modulation, promised, "modulation")
    known: set[int] = set()  # vectors that several share, to look at each once

    def promised_vectors(whose: str, vectors: Any, slot: Slot) -> Any:
        if not isinstance(vectors, tuple | list) or len(vectors) != slot.vectors:
            raise backbone.broken_promise(vectors, f"{slot.vectors} vectors of {whose}", "modulation")
        for vector in vectors:
            if id(vector) not in known:
                backbone.promised(vector, (len(t), slot.dim), "modulation", role=f"as a vector of {whose}")
                known.add(id(vector))
        return vectors

    def of_block(index: int, vectors: Any) -> Any:
        return promised_vectors(f"block {index}", vectors, backbone.slots[index])

    if isinstance(modulation.blocks, WhenAsked):
        modulation = replace(modulation, blocks=modulation.blocks.then(of_block))
    else:
        for index, vectors in enumerate(modulation.blocks):
            of_block(index, vectors)
    for width, slot in backbone.head_slots.items():
        promised_vectors(f"heads of width {width}", modulation.heads.get(width, ()), slot)
    tokens, m = modulation.tokens, part.tokens
    if not isinstance(tokens, Mapping) or not tokens.keys() <= conditions.keys():
        widths = f"tokens by width, of {', '.join(map(str, conditions))} alone"
        raise backbone.broken_promise(tokens, widths, "modulation", role="as its tokens")
    for width in conditions:
        if m or width in tokens:
            backbone.promised(tokens.get(width), (len(t), m, width), "modulation", role="as its tokens")
    return modulation


def _condition(backbone: PartHolder, width: int, labels: Labels | None, batch: int) -> ClassCondition:
    kind = "class_conditioner"
    part = backbone.part(kind, width)
    condition, m = part(labels), part.class_tokens
    if not isinstance(condition, ClassCondition):
        raise backbone.broken_promise(condition, "a ClassCondition", kind, width)
    context, mask = condition.context, condition.context_mask
    if condition.vector is not None:
        backbone.promised(condition.vector, (batch, width), kind, width, role="as its vector")
    if condition.tokens is not None or m:
        backbone.promised(condition.tokens, (batch, m, width), kind, width, role="as its tokens")
    if context is not None:
        backbone.promised(context, (batch, "L", width), kind, width, role="as its context")
    if mask is not None:
        if context is None:
            raise backbone.broken_promise(mask, "None, as there is no context", kind, width, role="as its context_mask")
        backbone.promised(mask, (batch, context.shape[1]), kind, width, role="as its context_mask", dtype=torch.bool)
    returned = {"label": condition.vector, "prefix": condition.tokens, "context": context}
    found = {fact for fact, value in returned.items() if value is not None}
    promised = backbone.gives[width]
    if found != promised:
        own, gives = (", ".join(sorted(facts)) or "nothing" for facts in (found, promised))
        raise PluginError(f"{backbone.called(kind, width)} returned {own}, and its `gives` says {gives}; let it say so")
    return condition


def _at_width(
    backbone: PartHolder, width: int, t: Tensor, pieces: Sequence[Piece], condition: ClassCondition
) -> Condition:
    shape = (len(t), width)
    time = backbone.promised(backbone.part("time_embedder", width)(t), shape, "time_embedder", width)
    stages = []
    for piece in pieces:
        own = backbone.part("stage_embedder", width)(piece.stage)
        if own is not None:
            stages.append(backbone.promised(own, (width,), "stage_embedder", width).expand(len(piece.t), width))
    return Condition(time, condition.vector, _joined(stages) if stages else None)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]
