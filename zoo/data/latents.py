"""Training on latents that a VAE has encoded beforehand."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from zoo.data.autoencoder import Autoencoder
from zoo.data.base import Dataset, Samples, Source, Split, Statistics, classes_in_turn, two_axes
from zoo.data.fingerprint import Fingerprint, Group, counts_of_classes, digest, digest_of_labels
from zoo.data.folders import HELD_OUT, TRAIN, changes_division, look_at, shown, split_folder
from zoo.data.latent_index import INDEX, LatentIndex, read_index
from zoo.data.latent_shards import Shard, open_shard
from zoo.data.pixels import to_pixels
from zoo.data.problems import NOT_FINITE, Checked, Problem
from zoo.errors import DataError, MissingFolderError
from zoo.randomness import Purpose, generator_at
from zoo.registry import part
from zoo.signature import PathOrName, PathText

FLIP_PROBABILITY = 0.5

SamplePosterior = bool | Literal["fixed"]
"""How latents are drawn from the VAE's posterior: anew each time, not at all, or once for every encoding."""


@part("dataset", "latents")
class Latents(Dataset):
    """Latents from a folder that ``zoo latents`` wrote; unscaled, as the VAE encodes.

    The folder may be divided into ``train`` and ``held_out``, each with an index of its own. Held-out latents are never
    flipped.

    Options:
        folder: where ``index.json`` is.
        sample_posterior: draw from the VAE's posterior each time; or take its mean (false), or one sample for every
            picture and one for its mirror image (fixed), which depend on its id alone, as if samples had been stored.
            A VAE without a posterior (AutoencoderDC) has means alone, whatever this is.
        flip: take the encoding of the mirrored picture every other time, at random, where these are stored.
        vae: path or hub id of the VAE that turns samples into pictures. Without one, they show three latent channels.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, ...],
        num_classes: int,
        *,
        folder: PathText,
        sample_posterior: SamplePosterior = True,
        flip: bool = True,
        vae: PathOrName | None = None,
    ) -> None:
        self.shape = (channels, *two_axes(size))
        self.num_classes = num_classes
        self.folder = Path(os.path.expanduser(folder))  # unlike pathlib's, it takes any text
        self.sample_posterior = sample_posterior
        self.flip = flip
        self.vae = vae
        if vae is None:
            self.preview = (
                "without a VAE, pictures show three latent channels; set data.dataset.vae,"
                " such as to stabilityai/sd-vae-ft-ema"
            )
        self._autoencoder: Autoencoder | None = None

    def example_labels(self, batch: int) -> Int[Tensor, " B"]:
        """Classes in turn."""
        return classes_in_turn(self.num_classes, batch)

    def open(self, split: Split = "train") -> LatentSource:
        """The latents of a split; shapes and labels are checked, and nothing else is read."""
        try:
            train = split_folder(self.folder, "train")
        except MissingFolderError as error:
            raise DataError(f"{error}; `zoo latents` makes one of a folder of pictures") from error
        folder = split_folder(self.folder, split)
        index = read_index(folder)
        fitted_on = index if folder == train else read_index(train)
        found = (index.channels, index.height, index.width)
        if found != self.shape:
            raise DataError(
                f"{shown(folder / INDEX)}: its latents are {_times(found)} (channels x height x width),"
                f" and backbone.latent is {_times(self.shape)}; set it to the same"
            )
        if index.classes != fitted_on.classes:
            raise DataError(
                f"{shown(folder / INDEX)}: its classes are not those of {shown(train / INDEX)}; extract both of one"
                " folder of pictures"
            )
        if self.num_classes and not (index.classes or index.num_classes):
            raise DataError(
                f"{shown(folder / INDEX)}: its pictures had no classes, and backbone.num_classes is"
                f" {self.num_classes}; set it to 0"
            )
        source = LatentSource(
            folder,
            index,
            sample_posterior=self.sample_posterior,
            flip=self.flip and split == "train",
            below=() if folder == self.folder else (TRAIN,) if split == "train" else (folder.name, *HELD_OUT),
        )
        source.check_labels(self.num_classes)
        source.statistics = Statistics(fitted_on.statistics.mean, fitted_on.statistics.std)
        return source

    def takes(self, path: Path) -> bool:
        """Only what would have another folder be read: its index names the shards."""
        return path.resolve() == self.folder.resolve() or changes_division(self.folder, path)

    def to_images(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """Pictures decoded by ``vae``; without it the first three channels, each scaled by its own range.

        Raises:
            DataError: the VAE cannot be loaded, or is for other latents.
        """
        if self.vae is None:
            return _preview(latents)
        if self._autoencoder is None:
            autoencoder = Autoencoder(self.vae, latents.device)
            if autoencoder.channels != self.shape[0]:
                raise DataError(
                    f"VAE {self.vae!r}: its latents have {autoencoder.channels} channels,"
                    f" and backbone.latent.channels is {self.shape[0]}; take the VAE of the latents"
                )
            self._autoencoder = autoencoder
        return self._autoencoder.decode(latents)


class LatentSource(Source):
    """The latents of one split, in memory-mapped shards.

    Args:
        folder: that they are in.
        index: of that folder.
        sample_posterior: see ``Latents``.
        flip: likewise.
        below: folders, such as ``train``, that no other split's samples are named after; where pictures were not
            divided as their latents are, the first one tells the samples of two splits apart.
    """

    def __init__(
        self,
        folder: Path,
        index: LatentIndex,
        *,
        sample_posterior: SamplePosterior,
        flip: bool,
        below: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._below = tuple(f"{name}/" for name in below)
        self.index = index
        self.classes = index.classes
        self._sample_posterior = sample_posterior if index.variance == "stored" else False
        self._flip = flip and index.flip == "stored"
        self._starts = np.cumsum([0, *(record.count for record in index.shards)])
        self._labels = torch.cat([self._open(number).labels for number in range(len(index.shards))])
        self._shards: dict[int, Shard] = {}
        self._mapped: dict[int, Shaped[np.ndarray, "n P H W"]] = {}  # to view a tensor as an array takes a while

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}, "_mapped": {}}  # each process maps the files by itself

    def __len__(self) -> int:
        return len(self._labels)

    def check_labels(self, num_classes: int) -> None:
        """Refuse labels that there is no class for; unconditional backbones (0) take any.

        Raises:
            DataError: a label is outside [0, num_classes).
        """
        outside = (self._labels < 0) | (self._labels >= num_classes)
        if num_classes and bool(outside.any()):
            sample = int(outside.nonzero()[0])
            raise DataError(
                f"{self._file_of(sample)}: label {int(self._labels[sample])} of {self.id(sample)} is outside"
                f" 0..{num_classes - 1}; mend it, or set backbone.num_classes"
            )

    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The latents at ``indices``; each generator draws first the flip, then the posterior's noise, if not fixed."""
        flipped = np.zeros(len(indices), dtype=bool)
        if self._flip:
            flipped[:] = [generator.random() < FLIP_PROBABILITY for generator in random]
        moments = self._gather(indices, flipped, planes=(2 if self._sample_posterior else 1) * self.index.channels)
        latents = moments[:, : self.index.channels]
        if self._sample_posterior:
            if self._sample_posterior == "fixed":
                places = zip(indices.tolist(), flipped.tolist(), strict=True)
                random = [self._own_generator(*place) for place in places]
            noise = np.empty(latents.shape, dtype=np.float32)
            for generator, values in zip(random, noise, strict=True):
                generator.standard_normal(dtype=np.float32, out=values)
            deviation = (moments[:, self.index.channels :] * 0.5).exp_()
            latents = torch.addcmul(latents, deviation, torch.from_numpy(noise))
        if not math.isfinite(latents.sum()):  # far faster than asking every number
            self._refuse_non_finite(latents, indices)
        return Samples(latents, self.labels(indices), flipped=torch.from_numpy(flipped))

    def labels(self, indices: Int[np.ndarray, " B"]) -> Int[Tensor, " B"]:
        """The classes, which are in memory."""
        return self._labels[torch.from_numpy(indices)]

    def id(self, index: int) -> str:
        """The picture's path, as it was when it was encoded; where need be, below the split's folder."""
        return self._in_split(self._recorded_id(index))

    def ids(self) -> Iterator[str]:
        """The pictures' paths, a shard at a time."""
        for number in range(len(self.index.shards)):
            yield from map(self._in_split, self._open(number).all_ids())

    def class_counts(self) -> tuple[int, ...] | None:
        """Samples of each class; None where a label has no name in the index."""
        return counts_of_classes(self._labels.numpy(), len(self.classes))

    def fingerprint(self, *, files: bool = True) -> Fingerprint:
        """By shard, in order: the hash that the index has recorded, ids and, of the file, size and time."""
        return Fingerprint(
            samples=len(self),
            classes=self.classes,
            counts=self.class_counts(),
            labels=digest_of_labels(self._labels),
            groups=tuple(self._groups(files)),
            of="shard",
        )

    def _groups(self, files: bool) -> Iterator[tuple[str, Group]]:
        for number, record in enumerate(self.index.shards):
            ids = digest([self._open(number).ids.numpy().tobytes()])
            group = Group(samples=record.count, names=ids, recorded=record.sha256)
            if files:
                size, time = look_at(self.folder / record.file)
                group = group.model_copy(update={"sizes": str(size), "times": str(time)})
            yield record.file, group

    def check(self, indices: Int[np.ndarray, " B"]) -> Checked:
        """All that is stored of samples, mirrored pictures too; a variance must be finite as well."""
        wrong = np.zeros(len(indices), dtype=bool)
        for mirrored in range(1 + (self.index.flip == "stored")):
            moments = self._gather(indices, np.full(len(indices), bool(mirrored)), planes=self.index.layout.planes)
            moments[:, self.index.channels :].mul_(0.5).exp_()  # log-variances, where there are any
            wrong |= ~moments.isfinite().flatten(1).all(dim=1).numpy()
        problems = [
            Problem(NOT_FINITE, f"{self._file_of(index)}: the latent of {self.id(index)} is not finite", self.id(index))
            for index in indices[wrong].tolist()
        ]
        return Checked(problems, indices[~wrong], self.labels(indices[~wrong]))

    def recorded(self) -> Mapping[Path, str]:
        """The shards, as the index has them."""
        return {self.folder / record.file: record.sha256 for record in self.index.shards}

    def _own_generator(self, index: int, flipped: bool) -> np.random.Generator:
        """That of an encoding: the same in every run and epoch, and in a folder that holds other samples besides."""
        digest = hashlib.blake2b(self._recorded_id(index).encode(), digest_size=8).digest()
        return generator_at(0, Purpose.POSTERIOR, int(flipped), int.from_bytes(digest, "little"))

    def _gather(
        self, indices: Int[np.ndarray, " B"], flipped: Bool[np.ndarray, " B"], planes: int
    ) -> Float[Tensor, "B P H W"]:
        """The first so many planes of the moments: means, and then log-variances."""
        gathered = np.empty((len(indices), planes, self.index.height, self.index.width), dtype=self.index.dtype)
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        rows, keys = indices - self._starts[numbers], 2 * numbers + flipped
        order = np.argsort(keys, kind="stable")
        bounds = [0, *(np.flatnonzero(np.diff(keys[order])) + 1).tolist(), len(order)]
        for first, last in pairwise(bounds):  # of one shard, either all flipped or none
            places = order[first:last]
            gathered[places] = self._moments(int(keys[places[0]]))[rows[places], :planes]
        return torch.from_numpy(gathered).float()

    def _refuse_non_finite(self, latents: Tensor, indices: Int[np.ndarray, " B"]) -> None:
        wrong = (~latents.isfinite()).flatten(1).any(dim=1)
        if bool(wrong.any()):
            sample = int(indices[int(wrong.nonzero()[0])])
            raise DataError(f"{self._file_of(sample)}: the latent of {self.id(sample)} is not finite")

    def _recorded_id(self, index: int) -> str:
        number, row = self._place(index)
        return self._shard(number).id(row)

    def _in_split(self, name: str) -> str:
        return f"{self._below[0]}{name}" if self._below and not name.startswith(self._below) else name

    def _place(self, sample: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._starts, sample, side="right")) - 1
        return number, sample - int(self._starts[number])

    def _file_of(self, sample: int) -> str:
        return shown(self.folder / self.index.shards[self._place(sample)[0]].file)

    def _moments(self, key: int) -> Shaped[np.ndarray, "n P H W"]:
        """A shard's moments (key 2 x number) or those of the mirrored pictures (+ 1)."""
        if key not in self._mapped:
            number, flipped = divmod(key, 2)
            shard = self._shard(number)
            moments = shard.moments_flipped if flipped else shard.moments
            assert moments is not None, "flips are drawn only where they are stored"
            self._mapped[key] = moments.numpy()
        return self._mapped[key]

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            self._shards[number] = self._open(number)
        return self._shards[number]

    def _open(self, number: int) -> Shard:
        record = self.index.shards[number]
        return open_shard(self.folder / record.file, record.count, self.index.layout)


def _preview(latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B H W channels"]:
    shown_channels = latents[:, : 3 if latents.shape[1] >= 3 else 1].float()
    low, high = (extreme(shown_channels, dim=(2, 3), keepdim=True) for extreme in (torch.amin, torch.amax))
    return to_pixels((shown_channels - low) / (high - low).clamp_min(1e-12) * 2 - 1)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
