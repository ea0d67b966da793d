"""Training in pixel space, from a folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from zoo.data.base import Dataset, Samples, Source, Split, two_axes
from zoo.data.fingerprint import Fingerprint, counts_of_classes, digest_of_labels
from zoo.data.folders import ImageList, list_images, other_files, shown, would_be_listed
from zoo.data.pictures import read_picture
from zoo.data.pixels import to_latents, to_pixels
from zoo.errors import DataError
from zoo.registry import part
from zoo.signature import PathText

FLIP_PROBABILITY = 0.5


@part("dataset", "images")
class Images(Dataset):
    """Pictures from a folder for each class: cropped to the latent's size from the centre, scaled to [-1, 1].

    Labels count the class folders in the order of their names; where all names are numbers, 2 comes before 10. The
    folder may be divided into ``train`` and ``held_out`` (or ``val``), each with the class folders. Without classes
    (``num_classes: 0``) the pictures may also lie in one folder. Held-out pictures are never flipped. Files ending in
    .jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm and .avif are pictures, of which the first frame is
    taken; what else there is, is left out and counted.

    Options:
        folder: where the pictures are.
        flip: mirror every other picture, at random.
    """

    def __init__(
        self, channels: int, size: tuple[int, ...], num_classes: int, *, folder: PathText, flip: bool = True
    ) -> None:
        self.channels = channels
        self.size = two_axes(size)
        self.num_classes = num_classes
        self.folder = Path(os.path.expanduser(folder))  # unlike pathlib's, it takes any text
        self.flip = flip

    def open(self, split: Split = "train") -> ImageSource:
        """The pictures of a split, none of them read yet."""
        if self.channels not in (1, 3):
            raise DataError(
                f"dataset images has 1 channel (grey) or 3 (RGB), and backbone.latent.channels is {self.channels};"
                " set it to one of these"
            )
        images = list_images(self.folder, split, flat=self.num_classes == 0)
        if 0 < self.num_classes < len(images.classes):
            raise DataError(
                f"{shown(self.folder)}: has {len(images.classes)} classes, and backbone.num_classes is"
                f" {self.num_classes}; set it to {len(images.classes)}, or to 0 for an unconditional backbone"
            )
        return ImageSource(images, self.channels, self.size, flip=self.flip and split == "train")

    def takes(self, path: Path) -> bool:
        """Whether pictures there would be listed: those beside the splits, and hidden ones, are not."""
        return would_be_listed(self.folder, path)

    def to_images(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """The pixels."""
        return to_pixels(latents)


class ImageSource(Source):
    """The pictures of one split; each is read from its file every time."""

    def __init__(self, images: ImageList, channels: int, size: tuple[int, int], *, flip: bool) -> None:
        self.images = images
        self.notes = () if images.note is None else (images.note,)
        self.classes = images.classes
        self._channels = channels
        self._size = size
        self._flip = flip

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The pictures at ``indices``, each flipped as its generator draws."""
        paths = [self.images.path(index) for index in indices.tolist()]
        pixels = np.stack([read_picture(path, self._channels, *self._size) for path in paths])
        flipped = np.zeros(len(indices), dtype=bool)
        if self._flip:
            flipped[:] = [generator.random() < FLIP_PROBABILITY for generator in random]
            pixels[flipped] = pixels[flipped, :, ::-1]
        latents = to_latents(torch.from_numpy(pixels))
        return Samples(latents, self.labels(indices), flipped=torch.from_numpy(flipped))

    def labels(self, indices: Int[np.ndarray, " B"]) -> Int[Tensor, " B"]:
        """The pictures' classes, without opening them."""
        return torch.from_numpy(self.images.labels[indices])

    def id(self, index: int) -> str:
        """The picture's path below the dataset's folder."""
        return self.images.id(index)

    def class_counts(self) -> tuple[int, ...] | None:
        """Pictures of each class."""
        return counts_of_classes(self.images.labels, len(self.classes))

    def fingerprint(self, *, files: bool = True) -> Fingerprint:
        """By class, names in order and, of the files, sizes and times; the pictures are not read."""
        return Fingerprint(
            samples=len(self),
            classes=self.classes,
            counts=self.class_counts(),
            labels=digest_of_labels(torch.from_numpy(self.images.labels)),
            groups=tuple(self.images.groups(files=files)),
        )

    def ignored(self) -> Iterator[str]:
        """Files that do not end as pictures do."""
        return other_files(self.images.folder, self.images.below)
