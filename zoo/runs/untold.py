"""The step that callbacks have still to be told of, where a run may be cut off before they are.

A checkpoint is saved before its callbacks are told of it, since what they do may take long, or fail. So the step is
noted in ``untold.json`` before that, and the note goes when all have been told. A run that goes on from this checkpoint
and finds it tells them of the step then.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from zoo.callbacks import Step
from zoo.errors import RunError
from zoo.files import write_whole
from zoo.json_files import read_json
from zoo.runs.checkpoint import to_json
from zoo.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Note:
    """What callbacks have not been told of.

    Attributes:
        step: the update.
        checkpoint: whether they are to be told of its checkpoint, as of those that the recipe asks for.
    """

    step: Step
    checkpoint: bool


class Untold:
    """Keeps the note in the folder of a run.

    Args:
        folder: of the run.

    Attributes:
        step: what callbacks are being told of, or are about to be; None where they have been told of all.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.step: Step | None = None
        self._folder = folder
        self._noted = False

    def note(self, folder: RunFolder, *, checkpoint: bool) -> None:
        """Note the step, if there is one; on the main process, before it is saved.

        Args:
            folder: where it is about to be saved, since the run's own may be lost.
            checkpoint: whether callbacks are to be told of that too.
        """
        if self.step is not None:
            with suppress(RunError):  # training is dearer
                write_whole(folder.untold, to_json(asdict(Note(self.step, checkpoint))), RunError)
                self._noted = True

    def done(self) -> None:
        """Callbacks have been told of all."""
        self.step = None
        if self._noted and not self._folder.lost():
            self._forget()

    def of(self, step: int) -> Note | None:
        """What was noted of the step that a run goes on from, if it was; a note of another one goes.

        On the main process, which holds the folder's lock.
        """
        found = noted(self._folder, step)
        if found is None:
            self._forget()
        self._noted = found is not None
        return found

    def _forget(self) -> None:
        with suppress(OSError):
            self._folder.untold.unlink(missing_ok=True)
            self._noted = False


def noted(folder: RunFolder, step: int) -> Note | None:
    """What was noted of a step; by reading alone."""
    with suppress(OSError, ValueError):  # there is none, or it is damaged
        found = TypeAdapter(Note).validate_python(read_json(folder.untold))
        if found.step.step == step > 0:
            return found
    return None
