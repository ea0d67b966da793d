"""What run.json tells of a run: an entry for every time that it was started, and the step of its first checkpoint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.errors import RunError
from zoo.files import write_whole
from zoo.json_files import read_json

CHECKPOINT = "checkpoint"
"""Of an entry: the step of the run's first checkpoint. Where all are gone, it tells that there were any."""


class Starts:
    """The entries of a run, the last one of its newest start.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_recorded = False

    def read(self) -> list[dict[str, Any]]:
        """All of them, one at least.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged.
        """
        values = read_json(self._path)
        if not (isinstance(values, list) and values and all(isinstance(each, dict) for each in values)):
            raise ValueError("it is no list of starts")
        return values

    def changed(self, step: int) -> list[tuple[str, Any]]:
        """The keys that starts from a step on, or later ones, have changed, and to what; none where it is not told."""
        with suppress(OSError, ValueError, LookupError, TypeError):
            made = [change for start in self.read() for change in start.get("changes", ())]
            return [(str(each["key"]), each.get("after")) for each in made if each["step"] >= step]
        return []

    def known(self, *, is_used: bool) -> list[dict[str, Any]]:
        """Those so far, to which another is about to be added; none, with a warning, where they cannot be read.

        Args:
            is_used: whether there is a run already.

        Raises:
            RunError: the file is damaged, and cannot be kept aside.
        """
        path = self._path
        if not path.exists():
            if is_used:
                warnings.warn(
                    f"{path}: is gone; a new list of starts begins, and the run's id is taken from its checkpoints if"
                    " there are any",
                    stacklevel=1,
                )
            return []
        try:
            return self.read()
        except (OSError, ValueError) as error:
            aside = path.with_name(f"{path.name}.damaged")
            try:
                path.replace(aside)
            except OSError as refused:
                raise RunError(f"{path}: is damaged, and cannot be moved: {refused.strerror}") from refused
            warnings.warn(
                f"{path}: is damaged: {error}; it is kept as {aside.name}, and a new list begins", stacklevel=1
            )
            return []

    def write(self, starts: Sequence[Mapping[str, Any]]) -> None:
        """Have the file hold these.

        Raises:
            RunError: the disk refuses.
        """
        write_whole(self._path, json.dumps(starts, indent=1) + "\n", RunError)

    def first_checkpoint(self) -> int | None:
        """The step of the first checkpoint, or of the first after that was lost; None where none is told of."""
        with suppress(OSError, ValueError):
            return next((int(step) for each in self.read() if isinstance(step := each.get(CHECKPOINT), int)), None)
        return None

    def record_checkpoint(self, step: int) -> None:
        """Tell of a checkpoint if it is the first; what cannot be written now is tried again with the next one."""
        if self._has_recorded:
            return
        with suppress(OSError, ValueError, RunError):
            starts = self.read()
            if self.first_checkpoint() is None:
                starts[-1][CHECKPOINT] = step
                self.write(starts)
            self._has_recorded = True
