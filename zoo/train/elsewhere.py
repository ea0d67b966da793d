"""A checkpoint of a run that has lost its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from zoo.errors import RunError, ZooError
from zoo.runs.run_folder import RunFolder
from zoo.train.trainer import Trainer


def save_elsewhere(folder: RunFolder, how: str, trainer: Trainer, write_into: Callable[[RunFolder], None]) -> Path:
    """Save what is left of a run: in the place of its folder if nothing is there, or else beside it.

    Args:
        folder: of the run; what is in its place is not touched.
        how: it was lost.
        trainer: what trains.
        write_into: writes the checkpoint into a folder.

    Returns:
        The folder that the run has now, without older checkpoints and metrics.

    Raises:
        RunError: it cannot be saved elsewhere.
    """
    place, recipe = folder.path.absolute(), trainer.job.recipe
    if os.path.lexists(place):
        place = place.with_name(f"{place.name}-{folder.run[:8]}")
    anew = RunFolder(place)
    try:
        anew.run = folder.run
        anew.create()
        anew.write(recipe, classes=trainer.job.classes)
        write_into(anew)
    except ZooError as error:
        raise RunError(
            f"{folder.path}: {how} while it was trained, and step {trainer.step} cannot be saved elsewhere: {error}"
        ) from error
    finally:
        anew.unlock()
    return place


def told_elsewhere(before: Path, how: str, step: int, place: Path) -> str:
    """Where a run is saved that has lost its folder, in words."""
    return (
        f"{before}: {how} while it was trained; step {step} is saved in {place}, without older checkpoints and metrics"
    )
