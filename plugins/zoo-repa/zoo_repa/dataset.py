"""A dataset with the features of an encoder beside each sample."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

import zoo
from zoo.data import Checked, Dataset, Fingerprint, Group, Labels, PathText, Problem, Samples, Source, Split
from zoo.errors import DataError, MissingSplitError
from zoo_repa.loss import FEATURES
from zoo_repa.stored import EXTRACT, finite, names_of, open_shard, read_index

NOT_FINITE = "have features that are not finite"


@zoo.part("dataset", "with_features")
class WithFeatures(Dataset):
    """Samples of another dataset, each with its features as ``python -m zoo_repa.extract`` has stored them.

    They are the map ``features`` [z, gh, gw] in the dtype that is stored, mirrored with the sample. Held-out samples
    have theirs in a folder of their own; where ``held_out`` is left out, there are no held-out samples.

    Options:
        of: the other dataset.
        features: folder of the training samples' features.
        held_out: folder of the held-out samples' ones.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, ...],
        num_classes: int,
        *,
        of: zoo.Part[Dataset],
        features: PathText,
        held_out: PathText | None = None,
    ) -> None:
        self.of = of(channels, size, num_classes)
        self.extra = (*self.of.extra, FEATURES)
        self.maps = (*self.of.maps, FEATURES)
        self.preview = self.of.preview
        self.folders = {"train": _folder(features), "held_out": None if held_out is None else _folder(held_out)}

    def open(self, split: Split = "train") -> FeaturedSource:
        """The samples of a split; their number and names must be those that the features were extracted of."""
        source, folder = self.of.open(split), self.folders[split]
        if folder is None:
            raise MissingSplitError(
                "dataset with_features: has no features of held-out samples; extract them with --split held_out, and"
                " set data.dataset.held_out to their folder"
            )
        return FeaturedSource(source, folder)

    def example_labels(self, batch: int) -> Labels | None:
        """The other dataset's."""
        return self.of.example_labels(batch)

    def takes(self, path: Path) -> bool:
        """Only what the other dataset would take, or what would lie among the features."""
        return self.of.takes(path) or any(
            each is not None and path.resolve() == each.resolve() for each in self.folders.values()
        )

    @property
    def makes_images(self) -> bool:
        """Whether the other dataset does."""
        return self.of.makes_images

    def to_images(self, latents: Float[Tensor, "B C *size"]) -> UInt8[Tensor, "B height width channels"]:
        """The other dataset's pictures."""
        return self.of.to_images(latents)


class FeaturedSource(Source):
    """The samples of another source, with their features from memory-mapped files.

    Args:
        source: the other one.
        folder: of its features.

    Raises:
        DataError: the features are of other samples, or cannot be read.
    """

    def __init__(self, source: Source, folder: Path) -> None:
        self.source, self.folder, self.index = source, folder, read_index(folder)
        self.statistics, self.notes, self.classes = source.statistics, source.notes, source.classes
        if self.index.samples != len(source):
            raise DataError(
                f"{folder}: holds features of {self.index.samples} samples, and the dataset has {len(source)}; extract"
                f" them again by `{EXTRACT}`"
            )
        if names_of(source.ids()) != self.index.names:
            raise DataError(
                f"{folder}: holds features of samples of other names, or in another order; extract them again by"
                f" `{EXTRACT}`"
            )
        self._starts = np.cumsum([0, *(each.count for each in self.index.shards)])
        self._shards: dict[int, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}  # each process maps the files by itself

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The other source's samples, with their features, mirrored with them."""
        samples, features = self.source.read(indices, random), self._features(indices)
        wrong = ~finite(features)
        if bool(wrong.any()):
            sample = int(indices[int(wrong.nonzero()[0])])
            raise DataError(f"{self._file_of(sample)}: the features of {self.id(sample)} are not finite")
        if samples.flipped is not None:
            rows = samples.flipped.view(-1, *[1] * (features.ndim - 1))
            features = features.flip(-1).where(rows, features)
        return replace(samples, extra={**samples.extra, FEATURES: features})

    def labels(self, indices: Int[np.ndarray, " B"]) -> Labels:
        """The other source's."""
        return self.source.labels(indices)

    def id(self, index: int) -> str:
        """The other source's name of a sample."""
        return self.source.id(index)

    def ids(self) -> Iterator[str]:
        """The other source's."""
        return self.source.ids()

    def class_counts(self) -> tuple[int, ...] | None:
        """The other source's."""
        return self.source.class_counts()

    def fingerprint(self, *, files: bool = True) -> Fingerprint:
        """The other source's, with the features' shards as recorded."""
        own = self.source.fingerprint(files=files)
        groups = [
            (f"features {each.file}", Group(samples=each.count, names="", recorded=each.sha256))
            for each in self.index.shards
        ]
        return own.model_copy(update={"groups": (*own.groups, *groups)})

    def check(self, indices: Int[np.ndarray, " B"]) -> Checked:
        """What the other source finds, and features that are not finite."""
        found = self.source.check(indices)
        right = finite(self._features(found.sound)).numpy()
        problems = [
            Problem(
                NOT_FINITE, f"{self._file_of(index)}: the features of {self.id(index)} are not finite", self.id(index)
            )
            for index in found.sound[~right].tolist()
        ]
        sound = found.sound[right]
        return Checked([*found.problems, *problems], sound, self.labels(sound))

    def recorded(self) -> Mapping[Path, str]:
        """The other source's files, and the features'."""
        return {**self.source.recorded(), **{self.folder / each.file: each.sha256 for each in self.index.shards}}

    def ignored(self) -> Iterator[str]:
        """The other source's."""
        return self.source.ignored()

    def _features(self, indices: Int[np.ndarray, " B"]) -> Float[Tensor, "B z *grid"]:
        index = self.index
        found = torch.empty(len(indices), index.width, *index.grid, dtype=getattr(torch, index.dtype))
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        order = np.argsort(numbers, kind="stable")
        bounds = [0, *(np.flatnonzero(np.diff(numbers[order])) + 1).tolist(), len(order)]
        for first, last in pairwise(bounds if len(order) else []):
            places = order[first:last]
            number = int(numbers[places[0]])
            rows = torch.from_numpy(indices[places] - self._starts[number])
            found[torch.from_numpy(places)] = self._shard(number)[rows]
        return found

    def _shard(self, number: int) -> Tensor:
        if number not in self._shards:
            record = self.index.shards[number]
            self._shards[number] = open_shard(self.folder / record.file, self.index, record.count)
        return self._shards[number]

    def _file_of(self, sample: int) -> Path:
        return self.folder / self.index.shards[int(np.searchsorted(self._starts, sample, side="right")) - 1].file


def _folder(text: str) -> Path:
    return Path(os.path.expanduser(text))  # unlike pathlib's, it takes any text
