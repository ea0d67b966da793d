"""Saving a run whose folder has been removed, or taken by another run, while it was training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.classes import classes_in
from zoo.errors import RunError, ZooError
from zoo.recipe import Recipe
from zoo.train import checkpoint as checkpoints
from zoo.train.run_folder import RunFolder


def save_elsewhere(
    folder: RunFolder,
    how: str,
    recipe: Recipe,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
) -> Path:
    """Save what is left of a run: in the place of its folder if nothing is there, or else beside it.

    Args:
        folder: of the run; what is in its place is not touched.
        how: it was lost.
        recipe: the run's.
        step: updates done.
        tensors: of the checkpoint, by file name and tensor name.
        state: what else the checkpoint has.

    Returns:
        The folder that the run has now, without older checkpoints and metrics.

    Raises:
        RunError: it cannot be saved elsewhere.
    """
    place = folder.path.absolute()
    if os.path.lexists(place):
        place = place.with_name(f"{place.name}-{folder.run[:8]}")
    anew = RunFolder(place)
    try:
        anew.run = folder.run
        anew.create()
        anew.write(recipe, recipe.resolved(), classes=classes_in(state))
        checkpoints.save(anew.checkpoints, step, tensors, state)
        anew.record_checkpoint(step)
    except ZooError as error:
        raise RunError(
            f"{folder.path}: {how} while it was trained, and step {step} cannot be saved elsewhere: {error}"
        ) from error
    finally:
        anew.unlock()
    return place
