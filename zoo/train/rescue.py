"""A checkpoint without the other processes of a job, one of which no longer answers."""

from __future__ import annotations

import time

from zoo.errors import RunError
from zoo.runs.run_folder import RunFolder
from zoo.train.saving import Saver

FOLDER_PATIENCE = 10.0
"""Seconds in which the data workers of a main process that has been killed let go of the run's folder."""


def rescue(saver: Saver) -> str:
    """Save what this process holds, and tell what there is to go on from.

    No update may be going on; weights that one has half changed, since it failed, are not saved. Another process than
    the main one saves only if it can lock the run's folder, which the main process holds as long as there is any of it:
    it might wake up. The random states of the others are lost; what parts draw by PyTorch's own generator will be other
    numbers.

    Raises:
        RunError: this process does not hold whole weights, the folder is held, or the disk refuses.
    """
    trainer, folder = saver.trainer, saver.folder
    last = saver.last  # once it is there
    if saver.saved:
        last += f"; {folder.go_on}"
    if trainer.options.parallel == "fsdp":
        raise RunError(f"every process holds but a share of the weights (train.parallel: fsdp); {last}")
    trainer.settle()
    if not trainer.whole:
        raise RunError(f"process {trainer.world.rank} has failed in the midst of its update; {last}")
    if trainer.step == 0:
        return "no step was done yet"
    if not trainer.world.is_main:
        try:
            _take_over(folder)
        except RunError as error:
            raise RunError(f"{error}; {last}") from error
    lone = saver.lone()
    try:
        moved = lone.save_apart()
    finally:
        folder.unlock()
    saved = moved or f"saved after step {trainer.step} of {trainer.options.steps}"
    return f"{saved}; {lone.folder.go_on}"


def _take_over(folder: RunFolder) -> None:
    end = time.monotonic() + FOLDER_PATIENCE
    while True:
        try:
            folder.lock()
            return
        except RunError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
