"""Training on arrays of numpy's, for what is no picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from zoo.data.base import Dataset, Samples, Source, Split
from zoo.data.fingerprint import Fingerprint, Group, digest, digest_of_labels
from zoo.data.folders import changes_division, look_at, shown, split_folder
from zoo.data.held_out import Share, listed_split, rows_of_split
from zoo.errors import DataError, in_words
from zoo.labels import Labels
from zoo.registry import part
from zoo.signature import PathText

ARRAY, LABELS = "x.npy", "labels.npy"


@part("dataset", "npy")
class Npy(Dataset):
    """Arrays from a folder: ``x.npy`` [n, channels, *size], and ``labels.npy`` [n] or [n, ...] beside it.

    They are numbers of any kind that is no complex one, taken as float32, as they are. Labels are class indices where
    they are whole numbers, one a row; without classes they may be missing. ``x.npy`` is mapped into memory, of which
    only the rows that are read take part. The folder may be divided into ``train`` and ``held_out`` (or ``val``), with
    such files in each. No pickle is read.

    Options:
        folder: where the files are.
        held_out: the share of the rows that is held out, by their numbers, where the folder is not divided; 0 for none.
    """

    def __init__(
        self, channels: int, size: tuple[int, ...], num_classes: int, *, folder: PathText, held_out: Share = 0.0
    ) -> None:
        self.shape = (channels, *size)
        self.num_classes = num_classes
        self.folder = Path(os.path.expanduser(folder))  # unlike pathlib's, it takes any text
        self.held_out = held_out

    def open(self, split: Split = "train") -> NpySource:
        """The rows of a split, of which only the labels are read."""
        folder = split_folder(self.folder, listed_split(self.folder, self.held_out, split))
        path = folder / ARRAY
        found = open_array(path)
        if found.shape[1:] != self.shape:
            raise DataError(
                f"{shown(path)}: its rows are {_times(found.shape[1:])} (channels x size), and backbone.latent is"
                f" {_times(self.shape)}; set it to the same"
            )
        if not len(found):
            raise DataError(f"{shown(path)}: holds no rows; save some there by numpy.save")
        labels = self._labels(folder, len(found))
        below = f"{folder.name}/" if folder != self.folder else ""
        rows = np.arange(len(found))
        if self.held_out:
            names = (f"row {row}" for row in rows.tolist())
            rows = rows[rows_of_split(self.folder, names, self.held_out, split)]
        return NpySource(path, below, rows, labels[torch.from_numpy(rows)])

    def takes(self, path: Path) -> bool:
        """Only what would have another folder be read."""
        return path.resolve() == self.folder.resolve() or changes_division(self.folder, path)

    def _labels(self, folder: Path, count: int) -> Shaped[Tensor, "n ..."]:
        path = folder / LABELS
        if not self.num_classes and not path.exists():
            return torch.zeros(count, dtype=torch.int64)
        found = open_array(path)
        if len(found) != count:
            raise DataError(
                f"{shown(path)}: has {len(found)} rows, and {ARRAY} beside it has {count}; give each row a label"
            )
        if found.dtype.kind == "f":
            return torch.from_numpy(_as_float32(found, path, np.arange(count)))
        if self.num_classes and found.ndim == 1:
            _refuse_rows((found < 0) | (found >= self.num_classes), found, path, f"0..{self.num_classes - 1}")
        _refuse_rows(found > np.iinfo(np.int64).max, found, path, "those of 64 bits with a sign")
        return torch.from_numpy(found.astype(np.int64))


class NpySource(Source):
    """Rows of an array that is mapped into memory.

    Args:
        path: of the array.
        below: what names begin with.
        rows: of the array, those of the split [n].
        labels: of these [n, ...].
    """

    def __init__(self, path: Path, below: str, rows: Int[np.ndarray, " n"], labels: Shaped[Tensor, "n ..."]) -> None:
        self.path = path
        self._below, self._rows, self._labels = below, rows, labels
        self._array: Shaped[np.ndarray, "N ..."] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}  # each process maps the file by itself

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The rows at ``indices``; nothing about them is random."""
        if self._array is None:
            self._array = open_array(self.path)
        rows = self._rows[indices]
        found = _as_float32(self._array[rows], self.path, rows)
        return Samples(torch.from_numpy(np.ascontiguousarray(found)), self.labels(indices))

    def labels(self, indices: Int[np.ndarray, " B"]) -> Labels:
        """The rows' labels, which are in memory."""
        return self._labels[torch.from_numpy(indices)]

    def id(self, index: int) -> str:
        """The row's number, behind the folder where there are several."""
        return f"{self._below}row {self._rows[index]}"

    def fingerprint(self, *, files: bool = True) -> Fingerprint:
        """Rows and labels and, of the array's file, size and time."""
        size, time = map(str, look_at(self.path)) if files else ("", "")
        name = f"{self._below}{self.path.name}"
        group = Group(samples=len(self), names=digest([self._rows.tobytes()]), sizes=size, times=time)
        return Fingerprint(samples=len(self), labels=digest_of_labels(self._labels), groups=((name, group),), of="file")


def open_array(path: Path) -> Shaped[np.ndarray, "n ..."]:
    """Map an array into memory, to be read only.

    Raises:
        DataError: there is none, it holds no numbers or nothing, or is damaged.
    """
    try:
        found = np.lib.format.open_memmap(path, mode="r")  # refuses what is pickled
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: there is no such file; save one there by numpy.save") from None
    except Exception as error:  # of a damaged header, many kinds
        raise DataError(f"{shown(path)}: cannot be read as an array, or is damaged: {in_words(error)}") from error
    if found.dtype.kind not in "fiu" or not found.ndim:
        raise DataError(
            f"{shown(path)}: holds {found.dtype} {list(found.shape)}, no rows of plain numbers; save floats or integers"
        )
    return found


def _as_float32(
    values: Shaped[np.ndarray, "n ..."], path: Path, rows: Int[np.ndarray, " n"]
) -> Shaped[np.ndarray, "n ..."]:
    """The values of some rows of a file, none of which becomes infinite."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if values.dtype.kind == "f" and values.dtype.itemsize > found.dtype.itemsize:
        beyond = np.isinf(found) & np.isfinite(values)
        if beyond.any():
            place = tuple(np.argwhere(beyond)[0].tolist())
            raise DataError(
                f"{shown(path)}: row {rows[place[0]]} holds {values[place]:g}, too large for float32; scale the values"
            )
    return found


def _refuse_rows(
    outside: Bool[np.ndarray, "n ..."], labels: Shaped[np.ndarray, "n ..."], path: Path, allowed: str
) -> None:
    if outside.any():
        place = tuple(np.argwhere(outside)[0].tolist())
        raise DataError(
            f"{shown(path)}: label {labels[place]} of row {place[0]} is outside {allowed}; mend it, or set"
            " backbone.num_classes"
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
