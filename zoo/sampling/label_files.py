"""Labels that a file holds, for what class indices cannot say: attributes, embeddings, several things by name."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from zoo.errors import ZooError, in_words, listed, printable, shortened, words_of
from zoo.files import did_you_mean_file
from zoo.labels import Labels, checked

SUFFIXES = (".npy", ".json", ".npz", ".safetensors")


@dataclass(frozen=True)
class LabelFile:
    """A .npy or .json file with a row for each image, or a .npz or .safetensors file with several such by name.

    Attributes:
        path: of the file.
        digest: SHA-256 of its bytes.
        labels: what it holds, a row for each image; the images beyond are of the first rows again.
    """

    path: Path
    digest: str
    labels: Labels


def read_labels(path: Path) -> LabelFile:
    """Read it. No pickle is.

    Raises:
        ZooError: there is no such file, or it holds no labels.
    """
    where = f"--labels-file {printable(str(path))}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ZooError(
            f"{where}: cannot be read: {error.strerror or in_words(error)}{did_you_mean_file(path, SUFFIXES)}"
        ) from error
    try:
        labels = checked(_READERS.get(path.suffix.lower(), _from_npy)(content))
    except Exception as error:  # as Python reads a damaged header, of whatever kind
        words = words_of(error) if isinstance(error, ValueError) else in_words(error)
        raise ZooError(
            f"{where}: holds no labels: {words}; give a .npy or .json file with a row for each image, or a"
            " .npz or .safetensors file with such by name"
        ) from error
    return LabelFile(path, hashlib.sha256(content).hexdigest(), labels)


def _from_npy(content: bytes) -> object:
    return torch.from_numpy(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))


def _from_npz(content: bytes) -> object:
    """The arrays by name; one alone without."""
    with np.lib.npyio.NpzFile(io.BytesIO(content), allow_pickle=False) as file:
        found = {name: torch.from_numpy(file[name]) for name in file.files}
    return next(iter(found.values())) if len(found) == 1 else found


def _from_json(content: bytes) -> object:
    """A list with an entry for each image: a number, a list of numbers, or such by name; null is NaN."""
    entries = json.loads(content)
    if not isinstance(entries, list):
        raise ValueError("it is no list; let it be one, with an entry for each image")
    if not any(isinstance(each, Mapping) for each in entries):
        return _tensor(entries)
    first = next(each for each in entries if isinstance(each, Mapping))
    for number, each in enumerate(entries):
        if not isinstance(each, Mapping) or each.keys() != first.keys():
            raise ValueError(f"entry {number} (the first is 0) has other names; let all have {listed(list(first))}")
    return {name: _tensor([each[name] for each in entries]) for name in first}


def _tensor(values: list[Any]) -> Tensor:
    return torch.tensor(_numbers(values))


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_numbers, value))
    if value is None:
        return math.nan
    if not isinstance(value, int | float):
        raise ValueError(f"{shortened(repr(value))} is no number; write such, or lists of them")
    return value


_READERS = {".safetensors": load, ".npz": _from_npz, ".json": _from_json}
