"""What is wrong with samples, as ``Source.check`` tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int

from zoo.errors import DataError, first_line, printable
from zoo.labels import Labels, join, rows

if TYPE_CHECKING:
    from zoo.data.base import Samples, Source

UNREADABLE = "cannot be read"
NOT_FINITE = "hold NaN or infinite values"
HOLDS_NOT_FINITE = "holds NaN or infinite values"


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a sample.

    Attributes:
        kind: what is wrong, as one would say it of several: "cannot be read".
        message: what is wrong with this one, on a line; it names the sample or its file. It becomes printable.
        id: of the sample, which would be left out; empty where it is not a sample, or has lost its name. Likewise.
    """

    kind: str
    message: str
    id: str

    def __post_init__(self) -> None:
        for name in ("kind", "message", "id"):
            object.__setattr__(self, name, printable(getattr(self, name)))


@dataclass(frozen=True)
class Checked:
    """What a look at some samples has found.

    Attributes:
        problems: in the order of the samples.
        sound: indices of the others.
        labels: those of the others, in that order.
    """

    problems: Sequence[Problem]
    sound: Int[np.ndarray, " m"]
    labels: Labels


def check_by_reading(source: Source, indices: Int[np.ndarray, " B"]) -> Checked:
    """Read samples, together or, where that fails, one by one."""
    try:
        return _look_at(source, indices, read_alike(source, indices))
    except Exception:  # a plug-in's fault ends no check: it is told beside what else is wrong
        found = [_alone(source, indices[row : row + 1]) for row in range(len(indices))]
    return Checked(
        [problem for each in found for problem in each.problems],
        np.concatenate([each.sound for each in found]),
        join([each.labels for each in found if len(each.sound)] or [torch.zeros(0, dtype=torch.int64)]),
    )


def _alone(source: Source, index: Int[np.ndarray, " 1"]) -> Checked:
    try:
        return _look_at(source, index, read_alike(source, index))
    except Exception as error:
        name = _id(source, int(index[0]))
        text = str(error)
        if not isinstance(error, DataError):
            text = f"{name or f'sample {index[0]}'}: {type(error).__name__}: {first_line(error)}"
        return Checked([Problem(UNREADABLE, text, name)], index[:0], torch.zeros(0, dtype=torch.int64))


def _id(source: Source, index: int) -> str:
    try:
        return source.id(index)
    except Exception:  # where the file has gone that the name stands in
        return ""


def read_alike(source: Source, indices: Int[np.ndarray, " B"]) -> Samples:
    """Samples, each drawn as at every other such call."""
    return source.read(indices, [np.random.default_rng(index) for index in indices.tolist()])


def _look_at(source: Source, indices: Int[np.ndarray, " B"], samples: Samples) -> Checked:
    finite = samples.finite
    names = map(source.id, indices[~finite.numpy()].tolist())
    problems = [Problem(NOT_FINITE, f"{name}: {HOLDS_NOT_FINITE}", name) for name in names]
    return Checked(problems, indices[finite.numpy()], rows(samples.labels, finite))
