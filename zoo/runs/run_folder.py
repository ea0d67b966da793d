"""The folder of a run: recipe, versions, checkpoints, metrics and samples.

recipe.yaml       the resolved recipe: trains the same again
run.json          versions of zoo, plug-ins and torch, for every time that the run was started; the first checkpoint
metrics.jsonl     a line every ``train.log_every`` steps, and one for every update that was left out
parts/            copies of the files that its parts are in, of those that are in no package
checkpoints/      the newest ``train.keep_last`` ones, those since that were saved before a step that failed, and one of
                  every ``train.keep_every`` steps
snapshots/        averages by profile, every ``train.snapshot_every`` steps, for `zoo ema`; none goes
samples/          grids of samples, by step, as the callback `pictures` draws them; others have folders of their own
evaluations/      what `zoo eval` found, or the callback `evaluate`, by step
best.json         which checkpoint that callback keeps as the best one, if it is to
untold.json       the step of a checkpoint, until all callbacks have been told of it
loss.png          the curve
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.checkpoint_folders import PREFIX, checkpoints_in, run_of_newest
from zoo.classes import UNKNOWN, Classes
from zoo.errors import RunError, ZooError, printable
from zoo.files import write_whole
from zoo.json_files import read_json
from zoo.parts_file import options_of, place_in
from zoo.recipe import Overrides, Recipe, Recorded, holds_run, no_run, recorded_in, to_yaml
from zoo.runs.judged import Judged, way_of
from zoo.runs.kept_parts import files_of, keep, kept_copies
from zoo.runs.run_lock import NAME as LOCK
from zoo.runs.run_lock import RunLock
from zoo.runs.starts import Starts
from zoo.runs.writing import Writing
from zoo.shell import Commands, command
from zoo.unfinished import is_unfinished


class RunFolder:
    """Where a run keeps what it makes.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.versions = path / "run.json"
        self.starts = Starts(self.versions)
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.snapshots = path / "snapshots"
        self.samples = path / "samples"
        self.evaluations = path / "evaluations"
        self.loss_curve = path / "loss.png"
        self.untold = path / "untold.json"
        self.run = ""
        """The run's id, from when the folder is locked: in run.json and in the state of every checkpoint."""
        self.writing: Writing | None = None
        """What a thread of this process writes, or has written, into it."""
        self._lock: RunLock | None = None

    @property
    def is_used(self) -> bool:
        """Whether there is a run in the folder."""
        return holds_run(self.path)

    @property
    def command(self) -> str:
        """What goes on with the run."""
        return self._command(self.parts_options)

    def _command(self, options: Sequence[str]) -> str:
        return command("zoo", "train", "--resume", "--run-dir", self.path, *options)

    @property
    def commands(self) -> Commands:
        """The same with what looks at its data."""
        return Commands(command("zoo", "data", "check", "--run", self.path, *self.parts_options), self.command)

    @property
    def parts_options(self) -> list[str]:
        """The words of a command that give the copies of the files that the run has parts of."""
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            return options_of(kept_copies(self.path, self.starts.read()[-1]["versions"]["packages"]))
        return []

    @property
    def go_on(self) -> str:
        """The same as the last words of a message."""
        return f"go on with: {self.command}"

    def read_recipe(self, overrides: Overrides = ()) -> Recorded:
        """The recipe that is trained, in full, and overridden; not yet checked."""
        return recorded_in(self.path, overrides)

    def create(self) -> str | None:
        """Make the folder for a new run, and lock it.

        Returns:
            A warning, as ``lock`` does.

        Raises:
            ZooError: it holds something already.
            RunError: it cannot be made, or locked.
        """
        self._refuse_used()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: the run folder cannot be made: {error.strerror}") from error
        warning = self.lock()
        try:
            self._refuse_used()  # by a run that has begun, and perhaps ended, in between
        except ZooError:
            self.unlock()
            raise
        return warning

    def lock(self) -> str | None:
        """Keep other processes from training in the folder as long as this one lives.

        Returns:
            A warning where that cannot be done here.

        Raises:
            RunError: one is training in it, there is no right to write into it, or its checkpoints are not there.
        """
        if self.checkpoints.is_symlink() and not self.checkpoints.exists():
            raise RunError(
                f"{self.checkpoints}: links to {self.checkpoints.readlink()}, which is not there; is its disk mounted?"
            )
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise RunError(f"{self.checkpoints}: is no folder; move it elsewhere, and put the run's checkpoints there")
        self._lock = RunLock(self.path)
        recorded = self.recorded_run()
        self.run = self.run or recorded or uuid.uuid4().hex
        if recorded not in (None, self.run):
            self.unlock()
            raise RunError(f"{self.path}: has been taken by another run; choose another --run-dir")
        return self._lock.warning

    def wait(self) -> None:
        """Wait until nothing is being written any more."""
        if self.writing is not None:
            self.writing.wait()

    def unlock(self) -> None:
        """Let others train in the folder, once nothing is being written any more."""
        self.wait()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def lost(self) -> str | None:
        """How the folder has ceased to be this run's since it was locked; None while it is the run's.

        Nothing may be written into a folder that is not: its files are another run's.
        """
        if self._lock is None or self._lock.holds():
            return None
        if not self.path.exists():
            return "has been removed or moved"
        recorded, locked = self.recorded_run(), os.path.lexists(self._lock.path)
        if not self.is_used or (recorded is None and not locked):  # up to what is written in these moments
            return "has been emptied"
        if recorded != self.run or locked:
            return "has been taken by another run"
        try:  # somebody has removed the lock alone
            self.lock()
        except RunError:
            return "has been taken by another run"
        return None

    def own(self, path: Path) -> Path:
        """A file in a folder of the run that may be written.

        That folder may be a link to a larger disk, or have been sent with a link to anywhere: what is there stays.

        Raises:
            RunError: it is elsewhere, and exists.
        """
        if path.parent.is_symlink() and os.path.lexists(path):
            raise RunError(
                f"{path}: exists already where {path.parent.name} links to, and is left as it is; move it elsewhere"
            )
        return path

    def write(
        self,
        recipe: Recipe,
        init: Mapping[str, Any] | None = None,
        changes: Sequence[Mapping[str, Any]] = (),
        classes: Classes = UNKNOWN,
    ) -> None:
        """Record what is trained, and with which versions.

        Args:
            recipe: what is trained.
            init: what its first weights were; None: freshly initialised.
            changes: what is another than before, where a run goes on.
            classes: of the data.
        """
        text, files = to_yaml(recipe.resolved()), files_of(recipe)
        go_on = self._command(options_of(place_in(self.path, file) for file in files))
        header = printable(f"{recipe.name}, in full.   {go_on}")
        start: dict[str, Any] = {
            "run": self.run,
            "versions": recipe.versions().to_plain(),
            "python": platform.python_version(),
            "machine": platform.platform(),
            "command": sys.argv,
            **({} if init is None else {"init": dict(init)}),
            **({"changes": list(changes)} if changes else {}),
            **classes.to_plain(),
        }
        starts = [*self.starts.known(is_used=self.is_used), start]
        write_whole(self.recipe, f"# {header}\n{text}", RunError)  # first: with it, there is a run in the folder
        keep(self.path, files)
        self.starts.write(starts)

    def recorded_run(self) -> str | None:
        """The id of the run that is in the folder, as run.json says, or else the newest checkpoint."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            return str(self.starts.read()[-1]["run"])
        return run_of_newest(self.checkpoints)

    def missing_checkpoints(self) -> str | None:
        """What to say where all checkpoints are gone that run.json tells of; None where one is there, or never was."""
        with suppress(OSError):
            step = self.starts.first_checkpoint()
            if step is not None and not checkpoints_in(self.checkpoints):
                return (
                    f"{self.checkpoints}: holds no checkpoint, and one of step {step} was saved, as run.json says; is"
                    " its disk mounted?"
                )
        return None

    def write_evaluation(self, found: Mapping[str, Any]) -> Path:
        """Keep the figures and the record of an evaluation in a file; one that was made in the same way goes.

        Raises:
            RunError: the disk refuses.
        """
        digest = hashlib.sha256(json.dumps(way_of(found), sort_keys=True).encode()).hexdigest()
        try:
            self.evaluations.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.evaluations}: cannot be made: {error.strerror}") from error
        path = self.evaluations / f"{found['checkpoint']}-{digest[:8]}.json"
        write_whole(self.own(path), json.dumps(found, indent=1, allow_nan=False) + "\n", RunError)
        return path

    def read_evaluations(self) -> list[dict[str, Any]]:
        """The evaluations of averaged weights: by step, and those of one step in the order in which they were made."""
        found: list[tuple[int, float, dict[str, Any]]] = []
        for path in self.evaluations.glob("step_*.json"):
            with suppress(OSError, ValueError):  # what is damaged, or none of ours
                values = read_json(path)
                Judged.model_validate(values)
                if values["weights"] == "ema":
                    found.append((step_of(values), path.stat().st_mtime, values))
        return [values for _, _, values in sorted(found, key=lambda each: each[:2])]

    def _refuse_used(self) -> None:
        if self.is_used:
            raise ZooError(f"{self.path}: holds a run already; go on with it by --resume, or choose another --run-dir")
        if self.path.exists() and (not self.path.is_dir() or any(self._others())):
            raise ZooError(f"{self.path}: is not empty, and holds no run; choose another --run-dir")

    def _others(self) -> list[Path]:
        return [
            path
            for path in self.path.iterdir()
            if path.name != LOCK and not any(is_unfinished(path, of) for of in (self.recipe, self.versions))
        ]


def step_of(found: Mapping[str, Any]) -> int:
    """The step of the checkpoint that an evaluation is of."""
    return int(found["checkpoint"].removeprefix(PREFIX))


def load_run(path: Path) -> RunFolder:
    """The folder of a run that has been started.

    Raises:
        RunError: there is none.
    """
    folder = RunFolder(path)
    if not folder.is_used:
        raise no_run(path)
    return folder
