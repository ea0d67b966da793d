"""Snapshots of the averages by profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from zoo.errors import RunError
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.staging import Staging
from zoo.train.plain_state import origin
from zoo.train.trainer import Trainer

Say = Callable[[str], None]
"""Takes a line for the user."""


def snapshot_of(
    trainer: Trainer, folder: RunFolder, staging: Staging, files: Mapping[str, Mapping[str, Tensor]]
) -> Callable[[Say], None]:
    """What writes the averages by profile as a snapshot of the step that training is at.

    Args:
        trainer: what trains.
        folder: of the run.
        staging: where copies of the averages are being made, if they are.
        files: tensors [any shape] by file and name.

    Returns:
        What says where it cannot be written: the run goes on without it.
    """
    step, plain = trainer.step, origin(trainer, folder.run)

    def write(say: Say) -> None:
        staging.wait()
        try:
            checkpoints.save(folder.snapshots, step, files, plain)
        except RunError as error:
            say(f"warning: {error}; the run goes on without this snapshot")

    return write
