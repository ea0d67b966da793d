"""The folder of a run: recipe, versions, checkpoints, metrics and samples.

recipe.yaml       the resolved recipe: trains the same again
run.json          versions of zoo, plug-ins and torch, for every time that the run was started
metrics.jsonl     a line every ``train.log_every`` steps
checkpoints/      the newest ``train.keep_last`` ones
samples/          grids of samples, by step
loss.png          the curve
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import torch
import yaml

from zoo.errors import RunError, ZooError
from zoo.plugins import zoo_version
from zoo.recipe import Recipe
from zoo.registry import Registry


class RunFolder:
    """Where a run keeps what it makes.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.versions = path / "run.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.loss_curve = path / "loss.png"
        self._lock: TextIO | None = None

    @property
    def is_used(self) -> bool:
        """Whether there is a run in the folder."""
        return self.recipe.exists()

    def create(self) -> None:
        """Make the folder for a new run.

        Raises:
            ZooError: it holds something already.
        """
        if self.is_used:
            raise ZooError(f"{self.path}: holds a run already; go on with it by --resume, or choose another --run-dir")
        if self.path.exists() and (not self.path.is_dir() or any(self._others())):
            raise ZooError(f"{self.path}: is not empty, and holds no run; choose another --run-dir")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: the run folder cannot be made: {error.strerror}") from error

    def lock(self) -> None:
        """Keep other processes from training in the folder as long as this one lives.

        Raises:
            RunError: one is training in it.
        """
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"{self.path}: another process is training in this folder; wait for it, or stop it"
            ) from error

    def unlock(self) -> None:
        """Let others train in the folder."""
        if self._lock is not None:
            self._lock.close()

    def write(self, recipe: Recipe, registry: Registry, resolved: Mapping[str, Any]) -> None:
        """Record what is trained, and with which versions."""
        text = yaml.safe_dump(dict(resolved), sort_keys=False, default_flow_style=None, width=120)
        started = json.loads(self.versions.read_text(encoding="utf-8")) if self.versions.exists() else []
        started.append(
            {
                "zoo": zoo_version(),
                "plugins": registry.versions(recipe),
                "torch": torch.__version__,
                "python": platform.python_version(),
                "machine": platform.platform(),
                "command": sys.argv,
            }
        )
        _replace(self.versions, json.dumps(started, indent=1) + "\n")
        _replace(self.recipe, f"# {recipe.name}, in full.   zoo train --resume --run-dir {self.path.name}\n{text}")

    def forget_after(self, step: int) -> None:
        """Drop the metrics of later steps, which will come again, and a line that was cut off."""
        if not self.metrics.exists():
            return
        kept = [line for line in self._whole_lines() if json.loads(line)["step"] <= step]
        _replace(self.metrics, "".join(f"{line}\n" for line in kept))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every line of the metrics."""
        return [json.loads(line) for line in self._whole_lines()] if self.metrics.exists() else []

    def _whole_lines(self) -> list[str]:
        lines = self.metrics.read_text(encoding="utf-8").split("\n")
        return [line for line in lines[:-1] if line.endswith("}")]

    def _others(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.name != ".lock"]


def load_run(path: Path) -> RunFolder:
    """The folder of a run that has been started.

    Raises:
        ZooError: there is none.
    """
    folder = RunFolder(path)
    if not folder.is_used:
        raise ZooError(f"{path}: holds no run (no recipe.yaml); give the folder that `zoo train` made")
    return folder


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
