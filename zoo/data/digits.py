"""scikit-learn's handwritten digits: real images that need no download."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from zoo.data.base import Dataset, Samples, Source, Split, classes_in_turn, two_axes
from zoo.data.fingerprint import counts_of_classes
from zoo.data.pixels import to_pixels
from zoo.errors import DataError
from zoo.registry import part

CLASSES = 10
BRIGHTEST = 16
HELD_OUT_EVERY = 3


@part("dataset", "digits")
class Digits(Dataset):
    """The 1797 handwritten 8x8 digits that come with scikit-learn, resized to the latent: for trials and tests.

    They are scaled to [-1, 1], the same grey in every channel, with labels 0..9. Every third one is held out: 1198 to
    train on, 599 held out.
    """

    def __init__(self, channels: int, size: tuple[int, ...], num_classes: int) -> None:
        self.channels = channels
        self.size = two_axes(size)
        self.num_classes = num_classes

    def example_labels(self, batch: int) -> Int[Tensor, " B"]:
        """Classes in turn."""
        return classes_in_turn(self.num_classes, batch)

    def open(self, split: Split = "train") -> DigitsSource:
        """The digits of a split, all of them in memory."""
        if 0 < self.num_classes < CLASSES:
            raise DataError(
                f"dataset digits has {CLASSES} classes, and backbone.num_classes is {self.num_classes};"
                f" set it to {CLASSES}, or to 0 for an unconditional backbone"
            )
        pictures, digits = _read()
        index = np.arange(len(pictures))
        index = index[(index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == (split == "held_out")]
        images = torch.tensor(pictures[index], dtype=torch.float32)[:, None] * (2 / BRIGHTEST) - 1
        resized = F.interpolate(images, self.size, mode="bilinear", align_corners=False)
        return DigitsSource(resized, torch.tensor(digits[index], dtype=torch.int64), index, self.channels)

    def to_images(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """Grey pictures [B, H, W, 1]: the mean over channels."""
        return to_pixels(latents.mean(1, keepdim=True))


@cache
def _read() -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, " n"]]:
    """Pictures from 0 to ``BRIGHTEST``, and their classes; read from a packed table once a process."""
    from sklearn.datasets import load_digits  # half a second, that only this dataset should cost

    found = load_digits()
    return found.images, found.target


class DigitsSource(Source):
    """The digits of one split: grey images [n, 1, H, W], labels [n], and each one's index in ``load_digits``."""

    def __init__(
        self,
        images: Float[Tensor, "n 1 H W"],
        labels: Int[Tensor, " n"],
        index: Int[np.ndarray, " n"],
        channels: int,
    ) -> None:
        self.classes = tuple(map(str, range(CLASSES)))
        self._images = images
        self._labels = labels
        self._index = index
        self._channels = channels

    def __len__(self) -> int:
        return len(self._index)

    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The digits at ``indices``; nothing about them is random."""
        rows = torch.as_tensor(indices)
        return Samples(self._images[rows].repeat(1, self._channels, 1, 1), self.labels(indices))

    def labels(self, indices: Int[np.ndarray, " B"]) -> Int[Tensor, " B"]:
        """The digits' classes."""
        return self._labels[torch.as_tensor(indices)]

    def id(self, index: int) -> str:
        """The digit's index in ``load_digits``."""
        return f"digit {self._index[index]}"

    def class_counts(self) -> tuple[int, ...] | None:
        """Digits of each class."""
        return counts_of_classes(self._labels.numpy(), CLASSES)
