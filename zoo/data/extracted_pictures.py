"""What is encoded: the splits of a dataset of pictures, their labels, and their pictures batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset as Readable

from zoo.data.base import Dataset, Source
from zoo.data.folders import HELD_OUT, TRAIN
from zoo.errors import DataError, MissingSplitError, ZooError
from zoo.labels import class_indices, form_of

Make = Callable[[int], Dataset]
"""Gives the dataset for a number of classes; 0 for any labels, or none."""


class Split(NamedTuple):
    """The pictures of a split, the folder that their latents go to, and how many classes they are of; 0 for none."""

    out: Path
    source: Source
    num_classes: int


def open_splits(make: Make, out: Path, *, labels: bool) -> tuple[Dataset, list[Split]]:
    """A dataset, and its splits with all of their classes.

    Args:
        make: gives the dataset.
        out: where latents go: into folders in it, where there are two splits.
        labels: whether they have any.

    Raises:
        ZooError: it makes no pictures.
        DataError: it cannot be opened, or its labels are no class indices.
    """
    dataset = make(0)
    if not dataset.makes_images or dataset.preview is not None:
        raise ZooError("zoo latents: this dataset gives no pictures to encode; choose another --dataset")
    sources = _sources(dataset)
    count = max(map(_classes_of, sources)) if labels else 0
    if count:
        try:
            dataset = make(count)
            sources = _sources(dataset)
        except DataError as error:  # a sample without a label, say
            raise DataError(str(error).replace("or set backbone.num_classes to 0", "or give --no-labels")) from error
    outs = [out] if len(sources) == 1 else [out / TRAIN, out / HELD_OUT[0]]
    return dataset, [Split(out, source, count) for out, source in zip(outs, sources, strict=True)]


def _sources(dataset: Dataset) -> list[Source]:
    """Of what is trained on and, where there is such, of what is held out."""
    found = [dataset.open("train")]
    with suppress(MissingSplitError):
        found.append(dataset.open("held_out"))
    return found


def _classes_of(source: Source) -> int:
    """How many classes a source has; 0 where all samples have one label, which no name tells from none."""
    if source.classes:
        return len(source.classes)
    highest = int(class_indices_of(source, np.arange(len(source))).max())
    return highest + 1 if highest > 0 else 0


def class_indices_of(source: Source, rows: Int[np.ndarray, " n"]) -> Int[Tensor, " n"]:
    """The labels of some samples.

    Raises:
        DataError: they are no class indices.
    """
    labels = source.labels(rows)
    found = class_indices(labels)
    if found is None:
        raise DataError(
            f"{source.id(int(rows[0]))}: labels are {form_of(labels)}, and latents are stored with class indices; give"
            " --no-labels to leave them out"
        )
    return found


class Reader(Readable[Tensor]):
    """Batches of pictures, none mirrored, by the number of a split and rows of it."""

    def __init__(self, dataset: Dataset, sources: Sequence[Source], shape: tuple[int, ...]) -> None:
        self.dataset, self.sources, self.shape = dataset, sources, shape

    def __getitem__(self, key: tuple[int, range]) -> UInt8[Tensor, "B height width channels"]:
        source, rows = self.sources[key[0]], np.asarray(key[1])
        try:
            samples = source.read(rows, [np.random.default_rng(0) for _ in rows])
        except DataError as error:
            raise DataError(f"{error}; replace or remove it") from error
        pixels = self.dataset.to_images(samples.latents)
        if tuple(pixels.shape[1:]) != self.shape:
            raise DataError(
                f"{source.id(int(rows[0]))}: is a picture of {times(pixels.shape[1:])} (height x width x channels), and"
                f" {times(self.shape)} is asked for; take another --size, VAE or dataset"
            )
        if samples.flipped is None:
            return pixels
        return torch.where(samples.flipped.view(-1, 1, 1, 1), pixels.flip(2), pixels)


def times(shape: Sequence[int]) -> str:
    """``16 x 24``."""
    return " x ".join(map(str, shape))
