"""Pictures of any dataset encoded into the latents that the dataset ``latents`` reads: what ``zoo latents`` does.

Shards are shared out among processes, and each is written whole by one of them. Its batches are its own, so that its
bytes depend neither on the number of processes nor on a stop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from zoo.data.autoencoder import Autoencoder
from zoo.data.base import Dataset
from zoo.data.extracted_pictures import Reader, Split, class_indices_of, open_splits, times
from zoo.data.folders import HELD_OUT, TRAIN, shown
from zoo.data.latent_index import INDEX, Dtype, LatentIndex, Layout, ShardRecord, VAERecord, read_index
from zoo.data.latent_shards import Shard, open_shard
from zoo.data.latent_statistics import Sums
from zoo.data.latent_writing import encode_ids, shard_settings, write_shard
from zoo.data.workers import Workers
from zoo.distributed.distributed import TIMEOUT, Distributed
from zoo.distributed.failures import lacks_memory
from zoo.errors import DataError, RunError, ZooError
from zoo.files import write_whole


@dataclass(frozen=True)
class Extraction:
    """What is asked for.

    Attributes:
        out: the folder to write to.
        vae: path or hub id of what encodes.
        size: height and width that the dataset gives pictures in.
        batch: pictures of a pass; of their mirrored copies the pass has as many. Rounding depends on it.
        shard: samples of a file.
        dtype: of the stored numbers.
        flip: also encode the mirrored pictures.
        labels: store labels, which are class indices.
        workers: processes of each process that read ahead.
        resume: go on with what there is.
    """

    out: Path
    vae: str
    size: tuple[int, int] = (256, 256)
    batch: int = 32
    shard: int = 4096
    dtype: Dtype = "float16"
    flip: bool = True
    labels: bool = True
    workers: int = 0
    resume: bool = False

    @property
    def are_some_kept(self) -> bool:
        """Whether there is a shard to go on after."""
        return any(self.out.rglob("shard_*.safetensors"))


@runtime_checkable
class Told(Protocol):
    """Hears on the main process how it goes."""

    def note(self, text: str) -> None:
        """Something about the data that users should know."""

    def progress(self, done: int, total: int) -> None:
        """So many pictures of so many are done, on all processes."""


class Planned(NamedTuple):
    """A shard to be: its file, the number of its split, and which of its pictures."""

    path: Path
    split: int
    rows: range


Found = tuple[ShardRecord, Sums]


def extract(
    asked: Extraction, make: Callable[[int, tuple[int, int], int], Dataset], world: Distributed, told: Told
) -> list[Split]:
    """Encode the splits of a dataset, each into a folder of its own where there are two.

    Args:
        asked: what is asked for.
        make: gives the dataset for channels, size and number of classes; 0 for any labels, or none.
        world: this process among those of the job.
        told: hears how it goes.

    Raises:
        ZooError: the folder is in use, or the size is none of the VAE's.
        DataError: a picture cannot be read or encoded, or what there is to go on with was extracted otherwise.
        RunError: there is not enough memory, or a file cannot be written.
    """
    world.first(lambda: _refuse_in_use(asked))
    with world.together():
        vae = Autoencoder(asked.vae, world.device)
        _refuse_size(asked.size, vae.factor)

    def of_classes(count: int) -> Dataset:
        return make(vae.image_channels, asked.size, count)

    def look() -> None:
        """Alone at first: what is looked up in data once is kept beside it."""
        open_splits(of_classes, asked.out, labels=asked.labels)

    world.first(look)
    with world.together():
        dataset, splits = open_splits(of_classes, asked.out, labels=asked.labels)
    for split in splits if world.is_main else ():
        for note in split.source.notes:
            told.note(note)
    work = _Work(asked, dataset, splits, vae)
    complete: dict[int, str | None] = world.first(work.begin)
    found = work.encode(complete, world, told)
    world.first(lambda: work.finish(found))
    return splits


class _Work:
    """The shards of all splits, by their numbers."""

    def __init__(self, asked: Extraction, dataset: Dataset, splits: Sequence[Split], vae: Autoencoder) -> None:
        self.asked, self.dataset, self.splits, self.vae = asked, dataset, splits, vae
        height, width = (side // vae.factor for side in asked.size)
        self.layout = Layout(
            *(vae.channels, height, width, asked.dtype),
            flip="stored" if asked.flip else "none",
            variance="stored" if vae.has_variance else "none",
        )
        self.vae_sha256 = vae.sha256()
        self.settings = {
            "vae": self.vae_sha256,
            "size": times(asked.size),
            "dtype": self.layout.dtype,
            "flip": self.layout.flip,
        }
        self.plan = [
            Planned(split.out / f"shard_{place:05}.safetensors", number, rows)
            for number, split in enumerate(splits)
            for place, rows in enumerate(_pieces(range(len(split.source)), asked.shard))
        ]

    def begin(self) -> dict[int, str | None]:
        """Make the folders, and tell which shards are there, whole, and the same as they would be written now; of each
        its hash, where an index has it.

        Raises:
            DataError: one is whole, but another one; the pictures were divided otherwise; a folder cannot be made.
        """
        self._refuse_other_division()
        complete = [number for number, shard in enumerate(self.plan) if self._is_complete(shard)]
        recorded: dict[Path, str] = {}
        for split in self.splits:
            _make_folder(split.out)
            with suppress(DataError):  # none, or one that is written anew
                recorded |= {split.out / each.file: each.sha256 for each in read_index(split.out).shards}
        return {number: recorded.get(self.plan[number].path) for number in complete}

    def encode(self, complete: Mapping[int, str | None], world: Distributed, told: Told) -> list[Found]:
        """Look at the shards that are there, write those that are missing, and tell of all, on the main process."""
        sizes = [len(shard.rows) for shard in self.plan]
        missing = sorted(set(range(len(self.plan))) - set(complete))
        total, done = sum(sizes), sum(sizes[number] for number in complete)
        told.progress(done, total)
        found: dict[int, Found] = {}
        with world.together(self.asked.out):
            for number in sorted(complete)[world.rank :: world.size]:
                found[number] = self._look(self.plan[number], complete[number])
        world.first(lambda: self._forget(missing))
        with world.together(self.asked.out):
            pictures = self._pictures([self.plan[number] for number in missing[world.rank :: world.size]])
        with closing(pictures):
            for first in range(0, len(missing), world.size):  # in step, so that what fails on one soon ends all
                step = missing[first : first + world.size]
                after = done + sum(sizes[number] for number in step)
                with world.together(self.asked.out):
                    for number in step[world.rank : world.rank + 1]:
                        shard = self.plan[number]
                        stored: list[Tensor] = []
                        for rows in _pieces(shard.rows, self.asked.batch):
                            stored.append(self._encoded(pictures, shard, rows))
                            done_here = (rows.stop - shard.rows.start) * len(step)  # as if all were as far
                            told.progress(min(done + done_here, after), total)
                        self._write(shard, torch.cat(stored, dim=1))
                        found[number] = self._look(shard)
                done = after
                told.progress(done, total)
        every = {number: each for own in world.collect(found) for number, each in own.items()}
        return [every[number] for number in sorted(every)]

    def finish(self, found: Sequence[Found]) -> None:
        """Write the index of each split; sums are taken in the order of shards.

        Raises:
            DataError: one cannot be written.
        """
        for number, split in enumerate(self.splits):
            own = [each for each, shard in zip(found, self.plan, strict=True) if shard.split == number]
            sums = Sums(self.layout.channels)
            for _, each in own:
                sums.join(each)
            names = split.source.classes if split.num_classes else ()
            index = LatentIndex(
                **self.layout._asdict(),
                image_size=self.asked.size,
                vae=VAERecord(
                    source=self.vae.source,
                    sha256=self.vae_sha256,
                    scaling_factor=self.vae.scaling_factor,
                    shift_factor=self.vae.shift_factor,
                ),
                statistics=sums.statistics(),
                classes=names,
                num_classes=None if names else split.num_classes or None,
                shards=tuple(record for record, _ in own),
            )
            write_whole(split.out / INDEX, index.model_dump_json(indent=2) + "\n", DataError)

    def _is_complete(self, shard: Planned) -> bool:
        path = shard.path
        settings = shard_settings(path)
        if settings is None:
            return False
        if not settings:
            raise DataError(f"{shown(path)}: was not written by `zoo latents`; remove it, or choose another folder")
        if settings != self.settings:
            others = [key for key in self.settings if settings.get(key) != self.settings[key]]
            told = ", ".join(f"{key} {settings.get(key)}" for key in others)
            raise DataError(f"{shown(path)}: was extracted with {told}; resume with that, or choose another folder")
        labels, ids = self._names(shard)
        try:
            found = open_shard(path, len(shard.rows), self.layout)
        except DataError:
            found = None
        if found is None or not (torch.equal(found.labels, labels) and torch.equal(found.ids, ids)):
            raise DataError(
                f"{shown(path)}: holds other pictures than are to be there now: the data has changed, or --shard;"
                " choose another folder"
            )
        return True

    def _pictures(self, shards: Sequence[Planned]) -> Workers:
        """What reads the pictures of shards, batch by batch."""
        keys = [(shard.split, rows) for shard in shards for rows in _pieces(shard.rows, self.asked.batch)]
        shape = (*self.asked.size, self.vae.image_channels)
        reader = Reader(self.dataset, [split.source for split in self.splits], shape)
        return Workers(reader, keys, self.asked.workers if keys else 0, pin_memory=False)

    def _encoded(self, pictures: Workers, shard: Planned, rows: range) -> Float[Tensor, "copies B P H W"]:
        """Of a batch, in one pass: the pictures and, where they are asked for, the mirrored ones."""
        try:
            pixels: Tensor = pictures.next(TIMEOUT, lambda: False)
        except DataError as error:
            raise DataError(str(error).replace("data.workers", "--workers")) from error
        copies = torch.cat([pixels, pixels.flip(2)]) if self.asked.flip else pixels
        try:
            stored = self.vae.encode(copies).to(getattr(torch, self.layout.dtype))
        except (RuntimeError, MemoryError) as error:
            if lacks_memory(error):
                raise RunError("out of memory; go on with --resume and a smaller --batch") from error
            raise
        stored = stored.view(-1, len(rows), *stored.shape[1:])
        finite = stored.isfinite().all(dim=0).flatten(1).all(dim=1)
        if not finite.all():
            name = self.splits[shard.split].source.id(rows[int((~finite).nonzero()[0])])
            raise DataError(
                f"{name}: its latent is not finite in {self.layout.dtype}; take --dtype float32, or another VAE"
            )
        return stored

    def _write(self, shard: Planned, stored: Float[Tensor, "copies n P H W"]) -> None:
        flipped = stored[1] if self.asked.flip else None
        write_shard(shard.path, Shard(stored[0], flipped, *self._names(shard)), self.settings)

    def _forget(self, missing: Sequence[int]) -> None:
        """Remove the index of an extraction that has lost shards since."""
        for number in {self.plan[each].split for each in missing}:
            (self.splits[number].out / INDEX).unlink(missing_ok=True)

    def _refuse_other_division(self) -> None:
        outs, top = [split.out for split in self.splits], self.asked.out
        for place in (top, top / TRAIN, top / HELD_OUT[0]):
            if place not in outs and any(place.glob("shard_*.safetensors")):
                raise DataError(
                    f"{shown(place)}: holds latents, and these go to {' and '.join(map(shown, outs))}: what is held out"
                    " has changed; choose another folder"
                )

    def _look(self, shard: Planned, recorded: str | None = None) -> Found:
        """What the index says of a shard that is there, whose hash is the recorded one where there is one."""
        with shard.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if recorded not in (None, digest):
            raise DataError(
                f"{shown(shard.path)}: differs from its hash in {INDEX}; remove it, and --resume writes it again"
            )
        stored, sums = open_shard(shard.path, len(shard.rows), self.layout), Sums(self.layout.channels)
        for moments in (stored.moments, stored.moments_flipped):
            if moments is not None:
                sums.add(moments)
        return ShardRecord(file=shard.path.name, count=len(shard.rows), sha256=digest), sums

    def _names(self, shard: Planned) -> tuple[Int[Tensor, " n"], UInt8[Tensor, "n L"]]:
        """Labels and encoded ids."""
        _, source, num_classes = self.splits[shard.split]
        ids = encode_ids([source.id(row) for row in shard.rows])
        if not num_classes:
            return torch.zeros(len(shard.rows), dtype=torch.int64), ids
        return class_indices_of(source, np.asarray(shard.rows)).to(torch.int64), ids


def _pieces(rows: range, size: int) -> list[range]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _refuse_in_use(asked: Extraction) -> None:
    out = asked.out
    if out.exists() and not out.is_dir():
        raise ZooError(f"{shown(out)}: is a file; choose another name for the folder")
    if not asked.resume and any(not path.is_dir() for path in out.rglob("*")):  # folders are made before files fail
        raise ZooError(f"{shown(out)}: is not empty; choose another folder, or go on in it with --resume")


def _refuse_size(size: tuple[int, int], factor: int) -> None:
    if any(side % factor for side in size):
        raise ZooError(
            f"--size {times(size)}: a latent pixel of this VAE is {factor} image pixels wide and high; give multiples"
            f" of {factor}"
        )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be made: {error.strerror}") from error
