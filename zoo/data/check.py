"""A look at all that a dataset holds: what ``zoo data check`` does."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from zoo.data.base import Source
from zoo.data.folders import shown
from zoo.data.left_out import LeftOut
from zoo.data.problems import Problem, check_by_reading
from zoo.data.workers import Workers
from zoo.labels import class_indices

AT_ONCE = 64
"""Samples that are looked at together."""

SHOWN = 20
"""Problems of each kind that are kept by their messages."""

CHANGED = "are not what was recorded when they were written"
NO_CLASS = "have a label that there is no class for"


@dataclass(frozen=True)
class Work:
    """A part of the check of a split.

    Attributes:
        done: samples and files that were looked at.
        problems: what is wrong with them.
        labels: how many sound samples have which label, where labels are class indices.
    """

    done: int
    problems: tuple[Problem, ...] = ()
    labels: Mapping[int, int] = field(default_factory=dict)


@dataclass
class Findings:
    """What there is to say of a split, whatever its size.

    Attributes:
        problems: how many there are of each kind.
        first: messages of the first of each kind.
        labels: how many sound samples have which label.
        samples: how many can be left out, by their ids.
    """

    problems: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[str]] = field(default_factory=dict)
    labels: Counter[int] = field(default_factory=Counter)
    samples: int = 0

    def add(self, work: Work) -> None:
        """Take in a part of the check."""
        self.labels.update(work.labels)
        for problem in work.problems:
            self.problems[problem.kind] += 1
            self.samples += problem.id != ""
            first = self.first.setdefault(problem.kind, [])
            if len(first) < SHOWN:
                first.append(problem.message)


def amount(source: Source) -> int:
    """How much there is to look at: samples and files."""
    return len(source) + len(source.recorded())


def check(
    source: Source, left_out: LeftOut, num_classes: int, workers: int = 0, limit: float | None = None
) -> Iterator[Work]:
    """Look at all samples of a source that are not left out, and at the files with recorded hashes.

    Args:
        source: of a split.
        left_out: which samples are left out.
        num_classes: labels that are class indices are to be below it; 0 for any.
        workers: processes that do it; 0 for this one alone.
        limit: seconds to wait for one of them.

    Returns:
        Parts of it as they are done, in order; never more than a few at a time are in memory.

    Raises:
        DataError: a process has ended, or gives nothing.
    """
    keys: list[tuple[Path, str] | int] = [*source.recorded().items(), *range(0, len(source), AT_ONCE)]
    with closing(Workers(_Parts(source, left_out, num_classes), keys, workers, pin_memory=False)) as works:
        for _ in keys:
            yield works.next(limit, lambda: False)


class _Parts(Dataset[Work]):
    """The parts of a check: by a file and its recorded hash, or by the first of some samples."""

    def __init__(self, source: Source, left_out: LeftOut, num_classes: int) -> None:
        self.source, self.left_out, self.num_classes = source, left_out, num_classes

    def __getitem__(self, key: tuple[Path, str] | int) -> Work:
        if isinstance(key, tuple):
            return _check_file(*key)
        every = np.arange(key, min(key + AT_ONCE, len(self.source)))
        indices = every[~self.left_out.mask[every]]
        return self._check_samples(indices, len(every)) if len(indices) else Work(len(every))

    def _check_samples(self, indices: np.ndarray, done: int) -> Work:
        try:
            found = self.source.check(indices)
        except Exception:  # such as a file that has gone meanwhile
            found = check_by_reading(self.source, indices)
        labels, problems = class_indices(found.labels), list(found.problems)
        if labels is None:
            return Work(done, tuple(problems))
        outside = ((labels < 0) | (labels >= self.num_classes)).nonzero().flatten().tolist()
        for row in outside if self.num_classes else []:
            name, label = self.source.id(int(found.sound[row])), int(labels[row])
            problems.append(Problem(NO_CLASS, f"{name}: label {label} is outside 0..{self.num_classes - 1}", name))
        return Work(done, tuple(problems), Counter(labels.tolist()))


def _check_file(path: Path, recorded: str) -> Work:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Work(1, (Problem(CHANGED, f"{shown(path)}: cannot be read: {error.strerror}", ""),))
    if found == recorded:
        return Work(1)
    return Work(1, (Problem(CHANGED, f"{shown(path)}: its SHA-256 is {found}, and {recorded} was recorded", ""),))
