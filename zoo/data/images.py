"""Training in pixel space, from a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from zoo.data.base import Split
from zoo.data.fingerprint import Fingerprint, digest_of_labels
from zoo.data.folders import ImageList, list_images, other_files, would_be_listed
from zoo.data.held_out import listed_split, rows_of_split
from zoo.data.picture_source import PictureDataset, PictureSource
from zoo.registry import part


@part("dataset", "images")
class Images(PictureDataset):
    """Pictures from a folder for each class: cropped to the latent's size from the centre, scaled to [-1, 1].

    Labels count the class folders in the order of their names; where all names are numbers, 2 comes before 10. The
    folder may be divided into ``train`` and ``held_out`` (or ``val``), each with the class folders; or ``held_out`` is
    a share of it, which hangs on the names of the pictures: those that it has stay held out whatever is added. Without
    classes (``num_classes: 0``) the pictures may also lie in one folder. Held-out pictures are never flipped. Files
    ending in .jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm and .avif are pictures, of which the first
    frame is taken; what else there is, is left out and counted.

    Options:
        folder: where the pictures are.
        held_out: the share of them that is held out, where the folder is not divided; 0 for none.
        flip: mirror every other picture, at random.
    """

    def open(self, split: Split = "train") -> ImageSource:
        """The pictures of a split, none of them read yet."""
        self.refuse_channels()
        listed = listed_split(self.folder, self.held_out, split)
        images = list_images(self.folder, listed, flat=self.num_classes == 0)
        self.refuse_classes(len(images.classes))
        if self.held_out:
            names = (images.id(index).removeprefix(images.below) for index in range(len(images)))
            images = images.where(rows_of_split(self.folder, names, self.held_out, split))
        return ImageSource(images, self, flip=self.flip and split == "train")

    def takes(self, path: Path) -> bool:
        """Whether pictures there would be listed: those beside the splits, and hidden ones, are not."""
        return would_be_listed(self.folder, path)


class ImageSource(PictureSource):
    """The pictures of one split; each is read from its file every time."""

    def __init__(self, images: ImageList, dataset: PictureDataset, *, flip: bool) -> None:
        super().__init__(images.labels, images.classes, dataset, flip=flip)
        self.images = images
        self.notes = () if images.note is None else (images.note,)

    def file(self, index: int) -> tuple[Path, bytes | None]:
        """The picture's file."""
        return self.images.path(index), None

    def id(self, index: int) -> str:
        """The picture's path below the dataset's folder."""
        return self.images.id(index)

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
