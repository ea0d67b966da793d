"""What processes hold, and whether that grows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

YOUNG = 8
"""Samples from the beginning of a life by which lives are compared."""

ENOUGH = 40
"""Samples by which a life is compared with itself."""


@dataclass(frozen=True)
class Usage:
    """What a process holds: resident memory in MB, threads, open files."""

    memory: float
    threads: int
    files: int

    @property
    def words(self) -> str:
        """In words."""
        return f"{self.memory:.0f} MB, {self.threads} threads, {self.files} files"


Samples = Mapping[str, Sequence[Usage]]
"""Of a life, by role."""


def usage(pid: int) -> Usage | None:
    """Of a process that lives."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    number = {name: int(value) for name, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, flags=re.MULTILINE)}
    return Usage(number["VmRSS"] / 1024, number["Threads"], files) if len(number) == 2 else None  # it is ending


GROWTH = {"memory": 0.05, "threads": 0.0, "files": 0.0}
"""What may be added from the second quarter of the samples to the last one, as a share; of medians."""


def grown(samples: Sequence[Usage]) -> Iterator[str]:
    """What has become more."""
    quarter = len(samples) // 4
    if quarter == 0:
        yield f"{len(samples)} samples are too few to tell"
        return
    before, after = middle(samples[quarter : 2 * quarter]), middle(samples[-quarter:])
    for name, share in GROWTH.items():
        if getattr(after, name) > getattr(before, name) * (1 + share):
            yield f"{name} grew from {getattr(before, name):.0f} to {getattr(after, name):.0f}"


def middle(samples: Sequence[Usage]) -> Usage:
    """The median of each number."""
    return Usage(*(sorted(getattr(each, name) for each in samples)[len(samples) // 2] for name in GROWTH))


def grown_in_lives(lives: Sequence[Samples]) -> Iterator[str]:
    """What has become more within a life that was long enough to tell, or from life to life at the same age."""
    for role in sorted({role for life in lives for role in life}):
        samples = [life.get(role, ()) for life in lives]
        long = {number: each for number, each in enumerate(samples) if len(each) >= ENOUGH}
        if not long:
            yield f"{role}: no life was long enough to tell"
        for number, each in long.items():
            yield from (f"{role}, life {number}: {found}" for found in grown(each))
        young = [middle(each[:YOUNG]) for each in samples if len(each) >= YOUNG]
        yield from (f"{role}, from life to life: {found}" for found in grown(young))
