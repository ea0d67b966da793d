"""How runs that came to harm are judged: by one that was never stopped."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults_runs import Ended, forked, start, train


def newest(run: Path) -> tuple[int, Mapping[str, str]]:
    """The step of the newest checkpoint, and the SHA-256 of each of its files of tensors, as they are on the disk."""
    found = sorted((run / "checkpoints").glob("step_????????"))
    if not found:
        return 0, {}
    manifest = json.loads((found[-1] / "manifest.json").read_text(encoding="utf-8"))
    hashes = {
        name: hashlib.sha256((found[-1] / name).read_bytes()).hexdigest()
        for name in manifest["files"]
        if name.endswith(".safetensors")
    }
    return int(found[-1].name.removeprefix("step_")), hashes


@dataclass
class Ground:
    """Where the runs of a case are, and what they are compared with.

    Attributes:
        folder: temporary.
        rounds: of what is done many times.
        seed: of all that is chosen.
    """

    folder: Path
    rounds: int
    seed: int
    _whole: dict[tuple[int, tuple[str, ...]], Mapping[str, str]] = field(default_factory=dict)

    def random(self) -> random.Random:
        """Chooses the same every time."""
        return random.Random(self.seed)  # noqa: S311 - no secret

    def whole(self, procs: int = 1, *overrides: str) -> Mapping[str, str]:
        """The hashes of a run that was never stopped."""
        key = (procs, overrides)
        if key not in self._whole:
            run = self.folder / f"whole-{len(self._whole)}"
            words = train(run, *overrides, procs=procs)
            ended = start(*words).end() if procs > 1 else forked(*words)
            if ended.code != 0:
                raise RuntimeError(f"a run without harm ended with {ended.code}: {ended.err[-500:]}")
            self._whole[key] = newest(run)[1]
        return self._whole[key]

    def go_on(self, run: Path, *overrides: str, procs: int = 1) -> list[str]:
        """Resume a run to its end, and judge it by the one that was never stopped."""
        words = train(run, *overrides, resume=(run / "recipe.yaml").exists(), procs=procs)
        ended = start(*words).end() if procs > 1 else forked(*words)
        return [f"resume: {each}" for each in ended.problems(0)] + differences(
            newest(run)[1], self.whole(procs, *overrides)
        )


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Which files of a checkpoint are not those of the run that was never stopped."""
    return [
        f"{name} is not that of the run that was never stopped"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        held: how often the law held.
        tried: how often harm was done.
        problems: what broke it.
        told: messages that a user saw, without what differs from time to time.
        skipped: why the case could not be tried here.
    """

    held: int = 0
    tried: int = 0
    problems: list[str] = field(default_factory=list)
    told: dict[str, None] = field(default_factory=dict)
    skipped: str = ""

    def add(self, problems: Sequence[str], *ended: Ended, what: str = "") -> None:
        """Note one harm."""
        self.tried += 1
        self.held += not problems
        self.problems += [f"{what}: {each}" if what else each for each in problems]
        for each in ended:
            if each.told:
                self.told[plain(each.told)] = None


def plain(message: str) -> str:
    """A message with the folder, numbers of steps and processes, and seconds as letters."""
    message = re.sub(r"'?/[^\s:;,']*/run[\w-]*", "RUN", message)
    message = re.sub(r"step_\d+", "step_N", message)
    message = re.sub(r"\bstep \d+", "step N", message)
    message = re.sub(r"\bprocess \d{3,}\b", "process N", re.sub(r"process \d{3,} on \S+", "process N on HOST", message))
    return re.sub(r"\b(\d+) s\b", "N s", message)
