"""Training in pixel space, from pictures in tar files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from zoo.data.base import Split
from zoo.data.fingerprint import Fingerprint, Group, digest, digest_of_labels
from zoo.data.folders import changes_division, look_at, shown, split_folder
from zoo.data.held_out import Share, listed_split, rows_of_split
from zoo.data.picture_source import PictureDataset, PictureSource
from zoo.data.tar_cache import index_of
from zoo.data.tar_index import TarIndex
from zoo.errors import DataError
from zoo.registry import part
from zoo.signature import PathText


@part("dataset", "webdataset")
class WebDataset(PictureDataset):
    """Pictures in tar files, as webdataset has them, each read by its place: cropped and scaled as ``images`` does.

    Members of a shard that lie side by side, and have the same path up to the first dot of their name, are a sample:
    ``cat/17.jpg``, ``cat/17.cls``. One ends as a picture does; ``.cls`` holds its class, a whole number from 0, or a
    field of ``.json`` does. The shards are all ``.tar`` of the folder, in the order of their names, none compressed;
    they may be divided into ``train`` and ``held_out`` (or ``val``). Where the pictures lie is looked up once, and
    kept beside the shards or, where nothing can be written there, in the user's cache.

    Options:
        folder: where the shards are.
        label: field of a sample's ``.json`` that is its class, where it has no ``.cls``.
        held_out: the share of them that is held out, by their names, where the folder is not divided; 0 for none.
        flip: mirror every other picture, at random; never those held out.
    """

    mends_label = "lay its .cls or .json beside it in the shard, as tar --sort=name does"

    def __init__(
        self,
        channels: int,
        size: tuple[int, ...],
        num_classes: int,
        *,
        folder: PathText,
        label: str = "label",
        held_out: Share = 0.0,
        flip: bool = True,
    ) -> None:
        super().__init__(channels, size, num_classes, folder=folder, held_out=held_out, flip=flip)
        self.label = label

    def open(self, split: Split = "train") -> TarSource:
        """The samples of a split, none of them read; their places are looked up where they are not known."""
        self.refuse_channels()
        folder = split_folder(self.folder, listed_split(self.folder, self.held_out, split))
        index = index_of(folder, self.label)
        if self.held_out:
            names = map(index.name, range(len(index)))
            index = index.where(rows_of_split(self.folder, names, self.held_out, split))
        source = TarSource(index, folder, self, flip=self.flip and split == "train")
        self.refuse_labels(source)
        return source

    def takes(self, path: Path) -> bool:
        """Only what would have another folder be read: shards are files."""
        return path.resolve() == self.folder.resolve() or changes_division(self.folder, path)


class TarSource(PictureSource):
    """The pictures of one split; each is read from its shard every time."""

    def __init__(self, index: TarIndex, folder: Path, dataset: PictureDataset, *, flip: bool) -> None:
        super().__init__(index.labels, (), dataset, flip=flip)
        self.index = index
        self.folder = folder
        self._below = f"{folder.name}/" if folder != dataset.folder else ""
        self.notes = tuple(f"{shown(folder)}: {note}" for note in _lost(index))

    def file(self, index: int) -> tuple[Path, bytes]:
        """What a picture is called, and its bytes."""
        shard = self.index.shards[self.index.shard[index]]
        path, size = self.folder / shard.name, int(self.index.sizes[index])
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if (status.st_size, status.st_mtime_ns) != (shard.size, shard.time):
                    raise DataError(
                        f"{shown(path)}: has changed since it was looked through; leave shards alone while they are"
                        " read, and start again"
                    )
                file.seek(int(self.index.offsets[index]))
                content = file.read(size)
        except OSError as error:
            raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from error
        return path / self.index.name(index), content

    def id(self, index: int) -> str:
        """The picture's shard and member."""
        shard = self.index.shards[self.index.shard[index]]
        return shown(f"{self._below}{shard.name}/") + self.index.name(index)

    def fingerprint(self, *, files: bool = True) -> Fingerprint:
        """By shard, in order: names and, of the file, size and time."""
        return Fingerprint(
            samples=len(self),
            classes=self.classes,
            counts=self.class_counts(),
            labels=digest_of_labels(torch.from_numpy(self._labels)),
            groups=tuple(
                (shown(shard.name), self._group(place, files)) for place, shard in enumerate(self.index.shards)
            ),
            of="shard",
        )

    def _group(self, shard: int, files: bool) -> Group:
        rows = self.index.rows(shard)
        names = self.index.names.part(rows.start, rows.stop)
        size, time = map(str, look_at(self.folder / self.index.shards[shard].name)) if files else ("", "")
        told = digest([names.text, names.ends.tobytes()])
        return Group(samples=len(names), names=told, sizes=size, times=time)


def _lost(index: TarIndex) -> Iterator[str]:
    """A line for each kind of members that are left out."""
    keys, dotted, links = (
        sum(getattr(shard, name) for shard in index.shards) for name in ("left_out", "dotted", "links")
    )
    if keys:
        yield f"left out {keys} {'key' if keys == 1 else 'keys'} of tar files, without a picture"
    if dotted:
        yield (
            f"left out {dotted} {'picture' if dotted == 1 else 'pictures'} with a dot before the ending, as in a.b.jpg,"
            " which a key does not go beyond; name them without"
        )
    if links:
        yield (
            f"left out {links} {'link' if links == 1 else 'links'}, which hold nothing; pack what they lead to, as tar"
            " --dereference --hard-dereference does"
        )
