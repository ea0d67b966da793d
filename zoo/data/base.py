"""What datasets and normalisations promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

Split = Literal["train", "held_out"]

AT_ONCE = 512
"""Samples that are read together where only their labels are wanted."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of every latent channel [C], as recorded with a dataset, before ``normalize``."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Samples:
    """Some samples of a dataset, before ``normalize``; CPU tensors."""

    latents: Float[Tensor, "B C H W"]
    labels: Shaped[Tensor, "B ..."]


class Source(ABC):
    """The samples of one split of a dataset, by index. Opened anew in every data worker: keep no file handle before."""

    statistics: Statistics | None = None
    """Recorded statistics of the latent channels, if any."""

    notes: tuple[str, ...] = ()
    """What users should know before they train on it, a line each: what it leaves out, say."""

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

    def labels(self, indices: Int[np.ndarray, " B"]) -> Shaped[Tensor, "B ..."]:
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
        return torch.cat(found)

    @abstractmethod
    def id(self, index: int) -> str:
        """What a user would know a sample by, such as its file: on one line, and no other sample's."""

    def ids(self) -> Iterator[str]:
        """The ids of all samples, in order. Override it where that can be told faster than one by one."""
        return map(self.id, range(len(self)))


class Dataset(ABC):
    """Where training data comes from. Constructor: ``(channels, height, width, num_classes, *, options)``.

    The constructor reads nothing: a recipe can be checked, and samples drawn, where the data is not.
    """

    kind: ClassVar[str] = "dataset"

    preview: str | None = None
    """What is missing for real pictures, and how to mend it, where ``to_images`` can only hint at them."""

    @abstractmethod
    def open(self, split: Split = "train") -> Source:
        """The samples of a split.

        Raises:
            MissingSplitError: there is no such split.
            DataError: there is nothing to read, or it does not fit the latents and classes of the backbone.
        """

    @abstractmethod
    def to_images(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """Pictures of latents (after ``Normalize.invert``): 8-bit, on the CPU, 1 (grey) or 3 (RGB) channels last."""


class Normalize(ABC):
    """A reversible map between a dataset's latents and those that the backbone sees.

    Constructor: ``(channels, *, options)``.
    """

    kind: ClassVar[str] = "normalize"

    @abstractmethod
    def apply(self, latents: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The dataset's latents as the backbone sees them."""

    @abstractmethod
    def invert(self, latents: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """What ``apply`` was given."""

    def fitted(self, statistics: Statistics | None) -> dict[str, object]:
        """Options of this part with what it takes from recorded statistics filled in; {} if it takes nothing.

        Raises:
            DataError: it needs statistics and there are none.
        """
        return {}
