"""Saving a run whose folder has been removed, or taken by another run, while it was training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

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
) -> RunError:
    """Save what is left of a run: in the place of its folder if nothing is there, or else beside it.

    Args:
        folder: of the run; what is in its place is not touched.
        how: it was lost.
        recipe: the run's.
        step: updates done.
        tensors: of the checkpoint, by file name and tensor name.
        state: what else the checkpoint has.

    Returns:
        What to raise: that training has ended, and how to go on.
    """
    place = folder.path.absolute()
    if os.path.lexists(place):
        place = place.with_name(f"{place.name}-{folder.run[:8]}")
    lost = f"{folder.path}: {how} while it was trained"
    anew = RunFolder(place)
    try:
        anew.run = folder.run
        anew.create()
        anew.write(recipe, recipe.resolved())
        checkpoints.save(anew.checkpoints, step, tensors, state)
    except ZooError as error:
        return RunError(f"{lost}, and step {step} cannot be saved elsewhere: {error}")
    finally:
        anew.unlock()
    return RunError(
        f"{lost}; step {step} is saved in {place}, without older checkpoints and metrics; go on with: {anew.command}"
    )
