"""The checkpoints in a folder, and what their states say. Free of torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.errors import listed
from zoo.json_files import parse_json, read_json, read_text

PREFIX = "step_"
MANIFEST, STATE = "manifest.json", "state.json"


def name_of(step: int) -> str:
    """What the checkpoint of a step is called."""
    return f"{PREFIX}{step:08d}"


def step_of(path: Path) -> int:
    """Of which step a checkpoint is, by its name."""
    return int(path.name.removeprefix(PREFIX))


def checkpoints_in(folder: Path) -> list[Path]:
    """What has the name of a checkpoint as zoo writes it, sound or not, by step; others are somebody's own copies."""

    def found() -> Iterator[tuple[int, Path]]:
        for path in folder.glob(f"{PREFIX}*"):
            is_checkpoint = path.name.removeprefix(PREFIX).isdecimal() and path.name == name_of(step_of(path))
            if is_checkpoint and (path.is_dir() or path.is_symlink()):
                yield step_of(path), path

    return [path for _, path in sorted(found())]


def steps_in(folder: Path) -> str:
    """The steps whose checkpoints are there, for messages: the newest few, and how many more."""
    return listed([str(step_of(path)) for path in reversed(checkpoints_in(folder))]) or "none"


def newest_states(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The checkpoints whose states are as they were written, whatever their tensors are; and these, newest first."""
    for path in reversed(checkpoints_in(folder)):
        with suppress(OSError, ValueError, LookupError, TypeError):  # damaged, or none of ours
            text = read_text(path / STATE)
            wanted = read_json(path / MANIFEST)["files"][STATE]["sha256"]
            state = parse_json(text)
            if hashlib.sha256(text.encode()).hexdigest() == wanted and isinstance(state, dict):
                yield path, state


def said_state(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, finished and sound or not; nothing where it cannot be read."""
    with suppress(OSError, ValueError):
        state = read_json(path / STATE)
        return state if isinstance(state, dict) else {}
    return {}


def run_of(path: Path) -> str | None:
    """The id of the run that a checkpoint is of, if it says so."""
    run = said_state(path).get("run")
    return None if run is None else str(run)


def run_of_newest(folder: Path) -> str | None:
    """The id of the run that the newest checkpoint which says so is of."""
    return next((run for path in reversed(checkpoints_in(folder)) if (run := run_of(path))), None)
