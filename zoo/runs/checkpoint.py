"""Checkpoints: whole or not there, and known to be sound before they are used. No pickle anywhere.

A checkpoint is a folder of safetensors files, ``state.json``, and ``manifest.json`` with the size and SHA-256 of each
of these. It is written under another name, brought to the disk, and renamed; the manifest is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo.checkpoint_folders import (
    MANIFEST,
    PREFIX,
    STATE,
    checkpoints_in,
    name_of,
    run_of,
    said_state,
    step_of,
    steps_in,
)
from zoo.errors import RunError
from zoo.files import (
    FAILURES,
    Hashed,
    Open,
    reason_of,
    refuse_without_space,
    safetensors,
    whole_folder,
    write_new,
)
from zoo.json_files import read_json
from zoo.mapped import named_in_text
from zoo.unfinished import UNFINISHED, remove, unfinished_of

FORMAT = {"format": "zoo checkpoint", "version": 2}
APART = "apart"
"""In a state that was saved because a step failed: it is kept besides those that are saved as the recipe says."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk whose files agree with its manifest."""

    path: Path

    @property
    def step(self) -> int:
        """Updates done."""
        return step_of(self.path)

    def state(self) -> dict[str, Any]:
        """What is not a tensor.

        Raises:
            RunError: it cannot be read, any more.
        """
        with self._reading(STATE):
            return dict(read_json(self.path / STATE))

    def digest(self, name: str) -> str:
        """The SHA-256 of ``name.safetensors``, as the manifest has it.

        Raises:
            RunError: the manifest does not name it.
        """
        with self._reading(MANIFEST):
            files = read_json(self.path / MANIFEST)["files"]
        if f"{name}.safetensors" not in files:
            raise RunError(f"{self.path}: holds no {name}.safetensors; is this a checkpoint of `zoo train`?")
        return str(files[f"{name}.safetensors"]["sha256"])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of ``name.safetensors``, on the CPU, memory-mapped.

        Raises:
            RunError: the manifest does not name it, or it cannot be read, any more.
        """
        self.digest(name)
        file = self.path / f"{name}.safetensors"
        with self._reading(file.name), named_in_text(file) as named:
            return load_file(named)

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:  # a run that goes on removes its older checkpoints
            raise RunError(f"{self.path / name}: is gone; is the run still training?") from error
        except (OSError, ValueError, SafetensorError) as error:
            raise RunError(f"{self.path / name}: cannot be read: {reason_of(error)}") from error


def save(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Checkpoint:
    """Write a checkpoint; a crash at any moment leaves the older ones whole, and no half of this one.

    Args:
        folder: of all checkpoints; what it is in exists.
        step: updates done.
        tensors: by file name, without the suffix, and by tensor name.
        state: what is not a tensor, as plain values; ``run`` is the id of the run.

    Raises:
        RunError: the disk is full, or refuses; or another run has a checkpoint of this step here.
    """
    at = final = path_of(folder, step)
    size = sum(tensor.nbytes for values in tensors.values() for tensor in values.values())
    try:
        folder.mkdir(exist_ok=True)  # and not what is above it: a run's folder that is gone is not made again
        _refuse_others(final, state["run"])
        refuse_without_space(folder, size)
        with whole_folder(final) as unfinished:
            manifest = {}
            for name, values in tensors.items():
                at = final / f"{name}.safetensors"
                manifest[at.name] = _written(unfinished / at.name, safetensors(values))
            at = final / STATE
            text = to_json(state).encode()
            manifest[STATE] = _written(unfinished / STATE, lambda file: file.write(text))
            at = final / MANIFEST
            write_new(unfinished / MANIFEST, to_json({**FORMAT, "step": step, "files": manifest}))
            at = final
            remove(final)  # one that did not verify, or training would have gone on from it
    except FAILURES as error:
        reason = reason_of(error)
        raise RunError(f"{at}: the checkpoint cannot be written: {reason}; older ones are whole") from error
    return Checkpoint(final)


def latest(folder: Path, needs: Collection[str] | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and what is wrong with every newer one.

    Args:
        folder: of all checkpoints.
        needs: names of the tensors that are to be read, and verified; all if left out.
    """
    problems: list[str] = []
    for path in reversed(checkpoints_in(folder)):
        problem = problem_of(path, needs)
        if problem is None:
            return Checkpoint(path), problems
        problems.append(f"{path}: {problem}")
    return None, problems


def at_step(folder: Path, step: int, needs: Collection[str] | None = None) -> Checkpoint:
    """The checkpoint of a step, as ``latest`` takes one.

    Raises:
        RunError: there is none, or it does not verify.
    """
    path = path_of(folder, step)
    if not path.is_dir():
        raise RunError(f"{folder}: there is no checkpoint of step {step}; there are: {steps_in(folder)}")
    problem = problem_of(path, needs)
    if problem is not None:
        raise RunError(f"{path}: {problem}")
    return Checkpoint(path)


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is, if there is one."""
    return folder / name_of(step)


def problem_of(path: Path, needs: Collection[str] | None = None) -> str | None:
    """Why a checkpoint cannot be used, or None if its files agree with the manifest.

    Args:
        path: the checkpoint.
        needs: names of the tensors that are to be read; all if left out. Of a file that nobody reads the damage, and
            the time that hashing takes, is no matter.
    """
    if path.is_symlink() and not path.exists():
        return f"links to {path.readlink()}, which is not there"
    try:
        manifest = read_json(path / MANIFEST)
        wanted = {name: (each["size"], each["sha256"]) for name, each in manifest["files"].items()}
        made = {key: manifest[key] for key in FORMAT}
        step = manifest["step"]
    except FileNotFoundError:
        return "has no manifest.json: it was not finished"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"manifest.json cannot be read: {type(error).__name__}: {error}"
    if made != FORMAT:
        return f"manifest.json says {made} in place of {FORMAT}: it is none of this version of zoo"
    if step != Checkpoint(path).step:
        return f"it is of step {step}, as manifest.json says: the folder has been renamed"
    if STATE not in wanted:
        return f"manifest.json does not name {STATE}"
    if foreign := [name for name in wanted if not re.fullmatch(r"\w[\w.-]*", name)]:
        return f"manifest.json names {foreign[0]!r}, which is no file of the checkpoint"
    read = wanted if needs is None else [STATE, *(f"{name}.safetensors" for name in needs)]
    if absent := [name for name in read if name not in wanted]:
        return f"holds no {absent[0]}"
    for name in read:
        (size, digest), file = wanted[name], path / name
        try:
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size} bytes in place of {size}"
            if _sha256(file) != digest:
                return f"{name} is not what was written: its SHA-256 differs"
        except OSError as error:
            return f"{name} cannot be read: {error}"
    return None


def prune(folder: Path, keep: int, run: str, spared: Collection[int] = (), keep_every: int | None = None) -> None:
    """Remove all but the ``keep`` newest regular checkpoints of a run, and what crashes have left of it.

    Those that were saved apart, before a step that failed, are not counted; they go when they are older than those
    that stay. Checkpoints of other runs stay. Of one that has been moved elsewhere, and linked from here, the link is
    removed. What cannot be removed keeps nothing else from it.

    Args:
        folder: of all checkpoints.
        keep: how many stay; the newest has just been saved.
        run: the id of the run.
        spared: steps whose checkpoints stay besides, such as the best one's.
        keep_every: those of every so many steps stay besides.

    Raises:
        RunError: the disk refuses.
    """
    assert keep > 0, "one must be left"
    own = [path for path in checkpoints_in(folder) if run_of(path) == run]
    regular = [path for path in own if said_state(path).get(APART) is not True]
    old = own[: own.index(regular[-keep])] if len(regular) >= keep else []
    old = [path for path in old if not (step_of(path) in spared or (keep_every and step_of(path) % keep_every == 0))]
    left = [path for path in folder.glob(f".{PREFIX}*{UNFINISHED}") if _is_own(path, run)]
    _change_each(folder, [*old, *left], _discard)


def set_aside_after(folder: Path, step: int, run: str) -> None:
    """Rename checkpoints of later steps, which are not sound: training is about to come to these steps again.

    Args:
        folder: of all checkpoints.
        step: that training goes on from.
        run: the id of the run.

    Raises:
        RunError: the disk refuses, or one is of another run.
    """

    def set_aside(path: Path) -> None:
        _refuse_others(path, run)
        aside = path.with_name(f"{path.name}.unsound")
        remove(aside)
        path.rename(aside)

    _change_each(folder, [path for path in checkpoints_in(folder) if Checkpoint(path).step > step], set_aside)


def to_json(values: Mapping[str, Any]) -> str:
    """Plain values as readable JSON."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _is_own(path: Path, run: str) -> bool:
    """Whether a run may replace or remove this: it made it; or nobody says so, but it is in the run's own folder.

    A folder of checkpoints may be a link to a larger disk, or have been sent with a link to anywhere.
    """
    return run_of(path) in ((run,) if path.parent.is_symlink() else (run, None))


def _refuse_others(path: Path, run: str) -> None:
    if os.path.lexists(path) and not _is_own(path, run):
        raise RunError(f"{path}: is not of this run ({run}), and is left as it is; move it elsewhere, and --resume")


def _change_each(folder: Path, paths: Sequence[Path], change: Callable[[Path], None]) -> None:
    """Change each of some paths in a folder; one that cannot be changed keeps none of the others from it."""
    refused: list[OSError | RunError] = []
    for path in paths:
        try:
            change(path)
        except (OSError, RunError) as error:
            refused.append(error)
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        if isinstance(refused[0], RunError):
            raise RunError(f"{refused[0]}{more}")
        raise RunError(
            f"{folder}: an older checkpoint cannot be moved or removed: {refused[0]}{more}; may zoo write there?"
        ) from refused[0]


def _discard(path: Path) -> None:
    """Remove a checkpoint, or what is left of one."""
    if path.name.startswith(PREFIX):  # renamed first: a crash while files go away must not leave what looks like one
        going = unfinished_of(path)
        remove(going)
        path = path.rename(going)
    remove(path)


def _written(path: Path, content: Callable[[Open], object]) -> dict[str, Any]:
    """Write a file, and tell what the manifest says of it."""
    told: dict[str, Any] = {}

    def write(file: Open) -> None:
        hashed = Hashed(file)
        content(hashed)
        told.update(size=hashed.size, sha256=hashed.sha256)

    write_new(path, write)
    return told


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
