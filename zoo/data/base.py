"""What datasets and normalisations promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from zoo.data.fingerprint import Fingerprint, Group, digest, digest_of_labels
from zoo.data.problems import Checked, check_by_reading
from zoo.labels import Labels, join

Split = Literal["train", "held_out"]

AT_ONCE = 512
"""Samples that are read together where only their labels are wanted."""

LOOKED_AT = 64
"""Samples, from the first to the last at even distances, whose labels and names are taken for all."""


@dataclass(frozen=True)
class Statistics:
    """Of every latent channel, as recorded with a dataset, before ``normalize``.

    Attributes:
        mean: of each channel [C].
        std: standard deviation of each channel [C].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Samples:
    """Some samples of a dataset, before ``normalize``; CPU tensors. Labels are one [B, ...], or several by name.

    Attributes:
        latents: a row for each sample.
        labels: likewise.
        extra: what the dataset's ``extra`` names, a row for each sample: what losses may ask for beside these.
        flipped: which of them are mirrored on the last axis, for a dataset around this one; None where none is.
    """

    latents: Float[Tensor, "B C *size"]
    labels: Labels
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    flipped: Bool[Tensor, " B"] | None = None

    def mirrored(self, which: Sequence[bool] | Bool[Tensor, " B"], maps: Collection[str]) -> Samples:
        """The same with some samples mirrored on the last axis, and with them what is extra and a map ``[z, gh, gw]``.

        Args:
            which: of them.
            maps: names of such extra; others, such as a vector of a picture, stay.
        """
        rows = torch.as_tensor(which, dtype=torch.bool)

        def mirror(own: Tensor) -> Tensor:
            return own.flip(-1).where(rows.view(-1, *[1] * (own.ndim - 1)), own)

        extra = {name: mirror(own) if name in maps else own for name, own in self.extra.items()}
        flipped = rows if self.flipped is None else self.flipped ^ rows
        return replace(self, latents=mirror(self.latents), extra=extra, flipped=flipped)

    @property
    def finite(self) -> Bool[Tensor, " B"]:
        """Which of them hold no NaN and nothing infinite."""
        return self.latents.isfinite().flatten(1).all(dim=1)


class Source(ABC):
    """The samples of one split of a dataset, by index. Opened anew in every data worker: keep no file handle before."""

    statistics: Statistics | None = None
    """Recorded statistics of the latent channels, if any."""

    notes: tuple[str, ...] = ()
    """What users should know before they train on it, a line each: what it leaves out, say."""

    classes: tuple[str, ...] = ()
    """Names of the classes by label; empty where there are none."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The samples at ``indices``, in that order.

        Args:
            indices: int64 [B], each in [0, len).
            random: a generator for each sample, for what is drawn anew every time it is read (flips, a VAE's
                posterior).

        Raises:
            DataError: a file that cannot be read, or holds what is no image or latent; the message names it.
        """

    def labels(self, indices: Int[np.ndarray, " B"]) -> Labels:
        """Labels of the samples at ``indices``, those of ``read``.

        Override it where they can be told without reading: evaluation asks for the label of every sample that it
        compares with, up to 50,000, and would read them all twice.

        Raises:
            DataError: a sample cannot be read.
        """
        found = []
        for first in range(0, len(indices), AT_ONCE):
            some = indices[first : first + AT_ONCE]
            found.append(self.read(some, [np.random.default_rng(0) for _ in some]).labels)
        return join(found)

    @abstractmethod
    def id(self, index: int) -> str:
        """What a user would know a sample by, such as its file: on one line, and no other sample's."""

    def ids(self) -> Iterator[str]:
        """The ids of all samples, in order. Override it where that can be told faster than one by one."""
        return map(self.id, range(len(self)))

    def class_counts(self) -> tuple[int, ...] | None:
        """Samples of each class, by label; None where they have none, or to tell takes reading."""
        return None

    def fingerprint(self, *, files: bool = True) -> Fingerprint:
        """What tells these samples, in their order, from others: a run goes on where it is as it was.

        It is the same whenever and wherever the same data is opened, whichever samples can be read. Here some samples
        stand for all, with their names, and their labels where ``labels`` is overridden; override it where more can be
        told without reading samples.

        Args:
            files: also tell sizes and times of files, which has to look at every one.

        Raises:
            DataError: a file is gone.
        """
        some = np.unique(np.linspace(0, len(self) - 1, LOOKED_AT).astype(np.int64))
        names = digest(f"{self.id(index)}\0".encode() for index in some.tolist())
        return Fingerprint(
            samples=len(self),
            classes=self.classes,
            counts=self.class_counts(),
            labels="" if type(self).labels is Source.labels else digest_of_labels(self.labels(some)),
            groups=(("", Group(samples=len(self), names=names)),),
        )

    def check(self, indices: Int[np.ndarray, " B"]) -> Checked:
        """What is wrong with samples, all that is: it is not enough that one draw of them can be read.

        Override it where that can be told otherwise than by reading them as ``read`` does. Nothing is raised for a
        sample.
        """
        return check_by_reading(self, indices)

    def recorded(self) -> Mapping[Path, str]:
        """Files of the samples with the SHA-256 that was recorded when they were written, if any was."""
        return {}

    def ignored(self) -> Iterator[str]:
        """What lies among the samples' files and is none of them, for users who miss some."""
        return iter(())


class Dataset(ABC):
    """Where training data comes from: it opens a ``Source``, which has the samples, for each split. Constructor:
    ``(channels, size, num_classes, *, options)``.

    ``size`` is a tuple, with the length of each of the latents' one to three axes; refuse what the data cannot fill, as
    ``two_axes`` does. The constructor reads nothing: a recipe can be checked, and samples drawn, where the data is not.
    """

    kind: ClassVar[str] = "dataset"

    preview: str | None = None
    """What is missing for real pictures, and how to mend it, where ``to_images`` can only hint at them."""

    extra: tuple[str, ...] = ()
    """Names of what samples have beside latents and labels, such as features of another network; for losses."""

    maps: tuple[str, ...] = ()
    """Those of them that are maps ``[z, gh, gw]`` of a picture, and are mirrored with its latents."""

    @abstractmethod
    def open(self, split: Split = "train") -> Source:
        """The samples of a split.

        Raises:
            MissingSplitError: there is no such split.
            DataError: there is nothing to read, or it does not fit the latents and classes of the backbone.
        """

    def example_labels(self, batch: int) -> Labels | None:
        """Labels such as the samples have, of any so many: a recipe whose class conditioner refuses them is an error.

        None, where that takes reading: training looks at the first samples then, before it begins.
        """
        return None

    def takes(self, path: Path) -> bool:
        """Whether what is made in a folder ``path``, which lies in one of the options, would be taken for samples.

        Override it where that is not so of every folder: runs and drawn images in such ones are refused.

        Raises:
            DataError: the data cannot be looked at.
        """
        return True

    @property
    def makes_images(self) -> bool:
        """Whether latents can be shown: whether a dataset has a ``to_images`` of its own."""
        return type(self).to_images is not Dataset.to_images

    def to_images(self, latents: Float[Tensor, "B C *size"]) -> UInt8[Tensor, "B height width channels"]:
        """Pictures of latents (after ``Normalize.invert``): 8-bit, on the CPU, 1 (grey) or 3 (RGB) channels last.

        Leave it out where latents are no pictures: training then draws no grids, and there is nothing to evaluate.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no pictures of its latents")


def classes_in_turn(num_classes: int, batch: int) -> Int[Tensor, " B"]:
    """Class indices as ``Dataset.example_labels``, of a dataset that has no others; 0 where there are no classes."""
    return torch.arange(batch) % max(num_classes, 1)


def two_axes(size: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of latents, for a dataset whose latents have no other axes.

    Raises:
        ValueError: the recipe's have.
    """
    if len(size) != 2:
        lengths = " x ".join(map(str, size))
        raise ValueError(
            f"makes latents of two axes, and the recipe's size has {len(size)}: {lengths}; choose another dataset, or"
            " data: null to build and count alone"
        )
    return size[0], size[1]


class Normalize(ABC):
    """A reversible map between a dataset's latents and those that the backbone sees.

    Constructor: ``(channels, *, options)``.
    """

    kind: ClassVar[str] = "normalize"

    @abstractmethod
    def apply(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """The dataset's latents as the backbone sees them."""

    @abstractmethod
    def invert(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """What ``apply`` was given."""

    def fitted(self, statistics: Statistics | None) -> dict[str, object]:
        """Options of this part with what it takes from recorded statistics filled in; {} if it takes nothing.

        Raises:
            DataError: it needs statistics and there are none.
        """
        return {}
