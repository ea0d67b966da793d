"""What goes into a backbone: how it is refused, in a line that says what was expected, and how it is split by stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.labels import Labels, checked, rows
from zoo.lockstep import Piece
from zoo.part_holder import PartHolder


def check_inputs(backbone: PartHolder, latents: object, t: object, labels: object, scores: object = None) -> None:
    """Refuse what ``Backbone.forward`` cannot take. Looking at noise levels, labels and scores waits for the device.

    Raises:
        ValueError: wrong shapes or types, an empty batch, noise levels outside [0, 1], labels out of range, scores
            outside [0, 1) or without a router, or stages whose latents have a size of their own.
    """
    _refuse_sizes(backbone)
    check_whole(backbone, latents, t, labels, scores)


def check_whole(backbone: PartHolder, latents: object, t: object, labels: object, scores: object = None) -> None:
    """The same for latents of the data's size, which a path brings to the size of each stage.

    Raises:
        ValueError: all but stages of sizes of their own.
    """
    latents, t = _tensor("latents", latents), _tensor("t", t)
    labels = None if labels is None else checked(labels)
    expected = ", ".join(map(str, backbone.latent))
    if latents.ndim < 2 or tuple(latents.shape[1:]) != backbone.latent or not len(latents):
        raise ValueError(f"latents: must have shape [B, {expected}] with B >= 1, got {list(latents.shape)}")
    if not latents.is_floating_point():
        raise ValueError(f"latents: must be floating point, got {latents.dtype}")
    if tuple(t.shape) != (len(latents),):
        raise ValueError(f"t: must have shape [{len(latents)}] as the latents, got {list(t.shape)}")
    if not t.is_floating_point():
        raise ValueError(f"t: must be floating point noise levels in [0, 1], got {t.dtype}")
    if scores is not None:
        scores = _scores(scores, len(latents), backbone.scores)
    if torch.compiler.is_compiling() or t.is_meta:  # no values to look at
        return
    if (outside := ~((t >= 0) & (t <= 1))).any():
        first = int(outside.nonzero()[0])
        raise ValueError(
            f"t: noise levels must lie in [0, 1] (0 = data, 1 = pure noise), but t[{first}] is {float(t[first])}"
        )
    if scores is not None and (outside := ~((scores >= 0) & (scores < 1))).any():
        row, column = outside.nonzero()[0].tolist()
        raise ValueError(f"scores: must lie in [0, 1), but scores[{row}, {column}] is {float(scores[row, column])}")
    backbone.conditioner.check_labels(labels, len(latents))


def check_pieces(backbone: PartHolder, pieces: Sequence[Piece]) -> None:
    """Refuse samples that ``Backbone.forward_stages`` would take for others. Looks at shapes and dtypes alone, so that
    it compiles, traces and waits for no device.

    Raises:
        ValueError: some have labels and others none, or scores are not those of a stage.
    """
    without = [number for number, piece in enumerate(pieces) if piece.labels is None]
    if 0 < len(without) < len(pieces):
        raise ValueError(
            f"pieces: all of them must have labels or none, but {len(without)} of {len(pieces)} have none, piece"
            f" {without[0]} first"
        )
    for piece in pieces:
        if piece.scores is not None:
            _scores(piece.scores, len(piece.latents), backbone.scores_of(piece.stage), more=True)


def by_stage(
    stage_of_sample: Int[Tensor, " B"],
    stages: int,
    latents: Float[Tensor, "B C *size"],
    t: Float[Tensor, " B"],
    labels: Labels | None,
    scores: Float[Tensor, "B N"] | None,
) -> tuple[list[Piece], Int[Tensor, " B"]]:
    """The samples of each stage that has any, noisiest first, and where in the batch each of them is [B]. Waits for the
    device.

    Args:
        stage_of_sample: the stage's index of each.
        stages: how many there are.
        latents: noisy latents.
        t: noise levels.
        labels: what the class conditioner takes.
        scores: for a router.
    """
    order = torch.argsort(stage_of_sample, stable=True)
    counts = torch.bincount(stage_of_sample, minlength=stages).tolist()
    pieces = [
        Piece(
            stage,
            latents[own],
            t[own],
            None if labels is None else rows(labels, own),
            None if scores is None else scores[own],
        )
        for stage, own in enumerate(torch.split(order, counts))
        if len(own)
    ]
    return pieces, order


def _refuse_sizes(backbone: PartHolder) -> None:
    for stage in range(len(backbone.stages)):
        if backbone.latent_of(stage) != backbone.latent:
            own = ", ".join(map(str, backbone.latent_of(stage)))
            raise ValueError(f"stage {stage} has latents [B, {own}] of its own size: call forward_stage")


def _scores(given: object, batch: int, count: int, *, more: bool = False) -> Tensor:
    """What is given, if it is scores, ``count`` of each sample, or more where that will do."""
    scores = _tensor("scores", given)
    if not count and scores.numel():
        raise ValueError("scores: this backbone has no router to take them; leave them out")
    enough = scores.ndim == 2 and (scores.shape[1] >= count if more else scores.shape[1] == count)
    if not enough or len(scores) != batch:
        raise ValueError(
            f"scores: must have shape [{batch}, {count}{' or more' if more else ''}], one of each sample for each image"
            f" token that the router sees, got {list(scores.shape)}"
        )
    if not scores.is_floating_point():
        raise ValueError(f"scores: must be floating point numbers in [0, 1), got {scores.dtype}")
    return scores


def _tensor(name: str, given: object) -> Tensor:
    if not isinstance(given, Tensor):
        raise ValueError(f"{name}: must be a tensor with a row for each sample, got {type(given).__name__}")
    return given
