"""What is read of samples, as the objective takes it: stage by stage."""

from __future__ import annotations

from zoo.backbone import Backbone
from zoo.data.stream import Batch
from zoo.flow import StageBatch
from zoo.labels import drop, split
from zoo.parts.values import split_tensors


def by_stage(piece: Batch, backbone: Backbone) -> list[StageBatch]:
    """The samples of a piece, some of their labels dropped, of each stage that has any.

    Args:
        piece: on the device of the backbone.
        backbone: whose dtype latents and noise get.
    """
    dtype = next(backbone.parameters()).dtype
    conditioner, labels = backbone.conditioner, piece.labels
    if piece.label_scores is not None:
        labels = conditioner.drop_some(labels, piece.label_scores)
    labels = drop(labels, conditioner.null(labels), piece.drop)
    tensors, counts = (piece.latents.to(dtype), piece.noise.to(dtype), piece.t), list(piece.counts)
    columns = [split_tensors(each, counts) for each in tensors]
    scores = [None] * len(counts) if piece.scores is None else split_tensors(piece.scores, counts)
    cast = {name: each.to(dtype) if each.is_floating_point() else each for name, each in piece.extra.items()}
    rows = zip(*columns, split(labels, counts), scores, split_tensors(cast, counts), strict=True)
    return [StageBatch(stage, *row) for stage, row in enumerate(rows) if counts[stage]]
