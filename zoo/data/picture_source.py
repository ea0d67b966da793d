"""What datasets of pictures have in common, wherever these lie: cropping, flips, labels, pixels."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from zoo.data.base import Dataset, Samples, Source, classes_in_turn, two_axes
from zoo.data.fingerprint import counts_of_classes
from zoo.data.folders import shown
from zoo.data.held_out import Share
from zoo.data.pictures import read_picture
from zoo.data.pixels import to_latents, to_pixels
from zoo.errors import DataError
from zoo.signature import MARK, PathText

FLIP_PROBABILITY = 0.5


class PictureDataset(Dataset):
    """Pictures below a folder: cropped to the latent's size from the centre, scaled to [-1, 1].

    Options:
        folder: where the pictures are.
        held_out: the share that is held out, where the folder is not divided.
        flip: mirror every other picture, at random.
    """

    mends_label: ClassVar[str] = "give each sample one"
    """How a sample that has no label gets one, in a message."""

    def __init__(
        self,
        channels: int,
        size: tuple[int, ...],
        num_classes: int,
        *,
        folder: PathText,
        held_out: Share = 0.0,
        flip: bool = True,
    ) -> None:
        self.channels = channels
        self.size = two_axes(size)
        self.num_classes = num_classes
        self.folder = Path(os.path.expanduser(folder))  # unlike pathlib's, it takes any text
        self.held_out = held_out
        self.flip = flip

    def example_labels(self, batch: int) -> Int[Tensor, " B"]:
        """Classes in turn."""
        return classes_in_turn(self.num_classes, batch)

    def to_images(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """The pixels."""
        return to_pixels(latents)

    def refuse_channels(self) -> None:
        """Refuse latents that no picture fills.

        Raises:
            DataError: they have neither one channel nor three.
        """
        if self.channels not in (1, 3):
            name = getattr(type(self), MARK)[1]
            raise DataError(
                f"dataset {name} has 1 channel (grey) or 3 (RGB), and backbone.latent.channels is"
                f" {self.channels}; set it to one of these"
            )

    def refuse_classes(self, count: int) -> None:
        """Refuse a backbone of fewer classes than there are; one of none takes all.

        Raises:
            DataError: it has fewer.
        """
        if 0 < self.num_classes < count:
            raise DataError(
                f"{shown(self.folder)}: has {count} classes, and backbone.num_classes is {self.num_classes}; set it to"
                f" {count}, or to 0 for an unconditional backbone"
            )

    def refuse_labels(self, source: PictureSource) -> None:
        """Refuse labels that there is no class for, and samples without any; unconditional backbones (0) take all.

        Raises:
            DataError: a label is outside [0, num_classes).
        """
        labels = source.labels(np.arange(len(source))).numpy()
        outside = (labels < 0) | (labels >= self.num_classes)
        if not self.num_classes or not outside.any():
            return
        row = int(outside.argmax())
        where = f"{shown(self.folder)}: {source.id(row)}"
        if labels[row] < 0:
            raise DataError(f"{where} has no label; {self.mends_label}, or set backbone.num_classes to 0")
        raise DataError(
            f"{where} has label {labels[row]}, outside 0..{self.num_classes - 1}; mend it, or set backbone.num_classes"
        )


class PictureSource(Source):
    """The pictures of one split; each is read anew every time.

    Args:
        labels: their classes [n]; -1 where one has none.
        classes: names by label; empty where there are none.
        dataset: whose pictures these are.
        flip: whether they are mirrored at random.
    """

    def __init__(
        self, labels: Int[np.ndarray, " n"], classes: tuple[str, ...], dataset: PictureDataset, *, flip: bool
    ) -> None:
        self.classes = classes
        self._labels = labels if dataset.num_classes else np.maximum(labels, 0)
        self._channels = dataset.channels
        self._size = dataset.size
        self._flip = flip

    def __len__(self) -> int:
        return len(self._labels)

    @abstractmethod
    def file(self, index: int) -> tuple[Path, bytes | None]:
        """The picture's file; or what it is called, and what it holds, where it is no file of its own."""

    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The pictures at ``indices``, each flipped as its generator draws."""
        files = map(self.file, indices.tolist())
        pixels = np.stack([read_picture(path, self._channels, *self._size, content) for path, content in files])
        flipped = np.zeros(len(indices), dtype=bool)
        if self._flip:
            flipped[:] = [generator.random() < FLIP_PROBABILITY for generator in random]
            pixels[flipped] = pixels[flipped, :, ::-1]
        latents = to_latents(torch.from_numpy(pixels))
        return Samples(latents, self.labels(indices), flipped=torch.from_numpy(flipped))

    def labels(self, indices: Int[np.ndarray, " B"]) -> Int[Tensor, " B"]:
        """The pictures' classes, without opening them."""
        return torch.from_numpy(self._labels[indices])

    def class_counts(self) -> tuple[int, ...] | None:
        """Pictures of each class."""
        return counts_of_classes(self._labels, len(self.classes))
