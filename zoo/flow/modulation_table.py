"""Modulations of many noise levels ahead of time, within a memory cap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from zoo.backbone import Backbone
from zoo.labels import Labels, class_indices, join, length, rows
from zoo.parts.facts import facts_of
from zoo.parts.values import Modulations


class Distinct(NamedTuple):
    """The labels that make a difference to the modulations, and which of them each sample has."""

    labels: Labels | None
    of_sample: Int[Tensor, " B"]


def distinct_labels(backbone: Backbone, labels: Labels | None, batch: int, device: torch.device) -> Distinct:
    """Labels without repetition: one alone where modulations hang on none; all where they are no class indices.

    Args:
        backbone: whose class conditioner takes the labels.
        labels: of B samples, or None for an unconditional backbone.
        batch: samples B.
        device: of the samples.
    """
    if "label" not in facts_of(backbone.conditioner).gives:
        one = None if labels is None else rows(labels, slice(1))
        return Distinct(one, torch.zeros(batch, dtype=torch.int64, device=device))
    assert labels is not None
    classes = class_indices(labels)
    if classes is not None:
        return Distinct(*torch.unique(classes, return_inverse=True))
    return Distinct(labels, torch.arange(batch, device=device))


class ModulationTable:
    """Modulations of the same samples at several noise levels of one stage.

    They are computed in one pass for all levels, or for as many consecutive ones as the cap has room for (at least
    one), when the first of them is asked for.

    Args:
        backbone: whose modulations they are.
        stage: index of the stage, 0 = noisiest.
        levels: distinct noise levels in the order of use.
        labels: the samples' labels.
        dtype: of the noise levels.
        limit: bytes that may be held at a time.
    """

    def __init__(
        self,
        backbone: Backbone,
        stage: int,
        levels: Sequence[float],
        labels: Distinct,
        dtype: torch.dtype,
        limit: int,
    ) -> None:
        self.backbone, self.stage, self.labels = backbone, stage, labels
        self.t = torch.tensor(levels, dtype=dtype, device=labels.of_sample.device)
        self.place = {t: place for place, t in enumerate(levels)}
        self.distinct = 1 if labels.labels is None else length(labels.labels)
        self.limit, self.chunk, self.first = limit, 0, -1
        self.held: Modulations | None = None

    def at(self, t: float) -> Modulations:
        """The modulations of all samples at one of the levels."""
        if not self.chunk:
            one = self.backbone.modulate(self.stage, self.t[:1], self._repeated(1, 1))
            self.chunk = max(1, self.limit // (one.nbytes() * self.distinct))
        place = self.place[t]
        first = place - place % self.chunk
        if first != self.first or self.held is None:
            self.held = None  # let go of the last ones before the next are made
            levels = self.t[first : first + self.chunk]
            labels = self._repeated(len(levels), self.distinct)
            self.held = self.backbone.modulate(self.stage, levels.repeat_interleave(self.distinct), labels)
            self.first = first
        return self.held.rows((place - first) * self.distinct + self.labels.of_sample)

    def _repeated(self, levels: int, distinct: int) -> Labels | None:
        """The first so many distinct labels, once for every level."""
        labels = self.labels.labels
        return None if labels is None else join([rows(labels, slice(distinct))] * levels)
