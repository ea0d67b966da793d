"""Pictures that another program has drawn or chosen, and means and covariances of features that it has found."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float, UInt8

from zoo.data.fingerprint import digest
from zoo.data.folders import ENDINGS, list_pictures, shown
from zoo.data.pictures import read_whole_picture
from zoo.errors import DataError, in_words
from zoo.evaluate.base import BATCH, Gaussian, Images, ImageSet, Moments
from zoo.evaluate.judging import MOST_IN_MEMORY
from zoo.files import did_you_mean_file
from zoo.sampling.sample_folder import SampleFolder

PICTURES = "arr_0"
POOLED, SPATIAL = ("mu", "sigma"), ("mu_s", "sigma_s")
"""Names of arrays in a file of ADM's evaluator: pictures, and mean and covariance of features."""


class Given(Images):
    """Pictures without classes, compared as they are."""

    @abstractmethod
    def digest(self) -> str:
        """What tells them from others: of files their names, sizes and times, or of an array all bytes.

        Raises:
            DataError: they cannot be read.
        """

    @abstractmethod
    def batches(self, rank: int = 0, ranks: int = 1) -> Iterator[ImageSet]:
        """All of them, some at a time; of several ranks, every rank has a share of the batches."""

    def in_memory(self) -> ImageSet:
        """All of them, or as many as memory is for, spread evenly over their order."""
        step = max(1, -(-len(self) // MOST_IN_MEMORY))
        starts = (-first % step for first in range(0, len(self), BATCH))
        chosen = [each.images[start::step].copy() for each, start in zip(self.batches(), starts, strict=True)]
        return ImageSet(np.concatenate(chosen), None)


class PictureFolder(Given):
    """All pictures of a folder at any depth, which have one size; of those of ``zoo sample``, all but the grid.

    Args:
        folder: where they lie.
        channels: 1 (grey) or 3 (RGB) to read them as.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """

    def __init__(self, folder: Path, channels: int) -> None:
        self._pictures, self._channels = list_pictures(folder), channels
        drawn = SampleFolder(folder)
        overview = drawn.grid if drawn.record.exists() else None
        self._indices = [index for index in range(len(self._pictures)) if self._pictures.path(index) != overview]

    def __len__(self) -> int:
        return len(self._indices)

    def digest(self) -> str:
        """Of names, sizes and times."""
        return digest(str(group).encode() for _, group in self._pictures.groups(files=True))

    def batches(self, rank: int = 0, ranks: int = 1) -> Iterator[ImageSet]:
        """By their names."""
        size = self._read(0).shape
        for start in range(rank * BATCH, len(self), ranks * BATCH):
            yield ImageSet(np.stack([self._read(i, size) for i in range(start, min(start + BATCH, len(self)))]), None)

    def _read(self, index: int, size: tuple[int, ...] | None = None) -> UInt8[np.ndarray, "H W C"]:
        path = self._pictures.path(self._indices[index])
        found = read_whole_picture(path, self._channels)
        if size not in (None, found.shape):
            raise DataError(
                f"{shown(path)}: is {_sides(found.shape)}, and the first picture of its folder {_sides(size)}; bring"
                " all to one size"
            )
        return found


class PictureArray(Given):
    """The pictures of an ``.npz`` file, ``arr_0`` [n, H, W, 1 or 3] of bytes, of which a batch at a time is in memory.

    Grey ones may stand there in three equal channels, as ``zoo sample --npz`` writes them.

    Args:
        file: compressed or not.
        channels: 1 (grey) or 3 (RGB) to read them as.

    Raises:
        DataError: it holds no such array.
    """

    def __init__(self, file: Path, channels: int) -> None:
        self._file, self._channels = file, channels
        with _member(file, PICTURES) as (_, shape, dtype):
            if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or not all(shape):
                raise _error(file, f"{PICTURES} is {dtype} {list(shape)}, and pictures are uint8 [n, H, W, 1 or 3]")
        self._shape = shape

    def __len__(self) -> int:
        return self._shape[0]

    def digest(self) -> str:
        """Of all bytes of the file."""
        return digest_at(self._file)

    def batches(self, rank: int = 0, ranks: int = 1) -> Iterator[ImageSet]:
        """In their order; each rank reads all, and keeps its share."""
        yield from itertools.islice(self._batches(), rank, None, ranks)

    def _batches(self) -> Iterator[ImageSet]:
        with _member(self._file, PICTURES) as (stream, _, _):
            for start in range(0, len(self), BATCH):
                shape = (min(BATCH, len(self) - start), *self._shape[1:])
                found = np.frombuffer(_read(self._file, stream, prod(shape)), np.uint8).reshape(shape)
                yield ImageSet(self._in_channels(found), None)

    def _in_channels(self, found: UInt8[np.ndarray, "n H W c"]) -> UInt8[np.ndarray, "n H W C"]:
        if found.shape[3] > self._channels and not (found == found[..., :1]).all():
            raise DataError(
                f"{shown(self._file)}: {PICTURES} has pictures in colour, and the data is grey; make them grey"
            )
        return found[..., :1].repeat(self._channels, axis=3) if found.shape[3] != self._channels else found


def read_moments(file: Path) -> Moments | None:
    """Those of an ``.npz`` file, ``mu`` [D] and ``sigma`` [D, D], and ``mu_s`` and ``sigma_s``; None without ``mu``.

    Raises:
        DataError: the file cannot be read, or they are none.
    """
    names = _names(file)
    if POOLED[0] not in names:
        return None
    return Moments(_gaussian(file, *POOLED), _gaussian(file, *SPATIAL) if SPATIAL[0] in names else None)


def pictures_at(path: Path, channels: int) -> Given | None:
    """Pictures of a folder or of an ``.npz`` file; None where it holds moments alone.

    Args:
        path: of either.
        channels: 1 (grey) or 3 (RGB), as which they are read.

    Raises:
        DataError: there is nothing of the kind.
    """
    if path.is_dir():
        return PictureFolder(path, channels)
    names = _names(path)
    if PICTURES in names:
        return PictureArray(path, channels)
    if POOLED[0] in names:
        return None
    raise _error(path, f"holds {', '.join(sorted(names)) or 'nothing'}")


def digest_at(path: Path) -> str:
    """What tells a folder of pictures, or a file, from others, but for copies of it: names and sizes, or the bytes.

    Raises:
        DataError: there is nothing of the kind.
    """
    if path.is_dir():
        groups = (group for _, group in list_pictures(path).groups(files=True))
        return digest(f"{group.samples} {group.names} {group.sizes}".encode() for group in groups)
    _names(path)  # it is a file of that kind
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror}") from error


def _gaussian(file: Path, mean: str, covariance: str) -> Gaussian:
    found = Gaussian(_numbers(file, mean), _numbers(file, covariance))
    (width,) = found.mean.shape if found.mean.ndim == 1 else (0,)
    if not width or found.covariance.shape != (width, width):
        shapes = f"{mean} {list(found.mean.shape)} and {covariance} {list(found.covariance.shape)}"
        raise _error(file, f"has {shapes}, which are no mean [D] and covariance [D, D]")
    return found


def _numbers(file: Path, name: str) -> Float[np.ndarray, ...]:
    with _member(file, name) as (stream, shape, dtype):
        if dtype.kind != "f":
            raise _error(file, f"{name} is {dtype}, and should be of floating-point numbers")
        found = np.frombuffer(_read(file, stream, prod(shape) * dtype.itemsize), dtype).reshape(shape)
    if not np.isfinite(found).all():
        raise _error(file, f"{name} is not finite")
    return found.astype(np.float64)


@contextmanager
def _member(file: Path, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
    """An array of a file, of which nothing but its header has been read."""
    with _opened(file) as archive:
        try:
            stream = archive.open(f"{name}.npy")
        except KeyError:
            raise _error(file, f"holds {', '.join(sorted(_in(archive))) or 'nothing'}, and no {name}") from None
        except Exception as error:  # zipfile's, of headers that are damaged, encrypted or of another compression
            raise _error(file, f"{name} cannot be read: {in_words(error)}") from error
        with stream:
            try:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(stream)
            except Exception as error:  # as Python reads a damaged header, of whatever kind
                raise _error(file, f"{name} cannot be read: {in_words(error)}") from error
            if dtype.hasobject or (fortran and len(shape) > 1):
                kind = "Python objects" if dtype.hasobject else "columns first"
                raise _error(file, f"{name} is of {kind}; write it by numpy.savez of a plain array, rows first")
            yield stream, shape, dtype


def _read(file: Path, stream: IO[bytes], count: int) -> bytes:
    try:
        found = stream.read(count)
    except Exception as error:  # zlib's and zipfile's
        raise _error(file, f"is damaged: {in_words(error)}") from error
    if len(found) < count:
        raise _error(file, "ends early: it has been cut off")
    return found


def _names(file: Path) -> frozenset[str]:
    with _opened(file) as archive:
        return _in(archive)


def _in(archive: zipfile.ZipFile) -> frozenset[str]:
    return frozenset(each.removesuffix(".npy") for each in archive.namelist() if each.endswith(".npy"))


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(file)
    except FileNotFoundError:
        raise DataError(
            f"{shown(file)}: there is no such folder or .npz file{did_you_mean_file(file, ('.npz',))}"
        ) from None
    except (OSError, zipfile.BadZipFile) as error:
        raise _error(file, f"is no .npz file, or one that is damaged: {in_words(error)}") from error
    with archive:
        yield archive


def _error(file: Path, problem: str) -> DataError:
    return DataError(
        f"{shown(file)}: {problem}; give a folder of pictures ({', '.join(ENDINGS[:4])} ...), or an .npz file with"
        f" {PICTURES}, or {' and '.join(POOLED)}"
    )


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
