"""Which averages of its weights a run keeps, and where."""

from __future__ import annotations

import json

from pydantic import ValidationError

from zoo.errors import RunError, ZooError
from zoo.recipe.averages import Average
from zoo.recipe.options import TrainOptions
from zoo.runs.run_folder import RunFolder
from zoo.runs.state import average_files


def file_of(average: Average, folder: RunFolder) -> str:
    """What the checkpoints of a run call one of its averages.

    Raises:
        ZooError: it keeps no such average; the message has those that it keeps.
        RunError: its recipe does not say which these are.
    """
    files = average_files(averages_of(folder))
    for name, each in files.items():
        if each == average:
            return name
    there = ", ".join(f"ema:{each}" for each in files.values())
    raise ZooError(
        f"{folder.path}: keeps no average ema:{average}, only {there}, as its train.ema says; take one of these"
    )


def averages_of(folder: RunFolder) -> tuple[Average, ...]:
    """The averages that a run keeps, as its recipe has them.

    Raises:
        RunError: it does not say which.
    """
    try:
        said = folder.read_recipe().tree.plain()["train"]["ema"]
        return TrainOptions.model_validate_json(json.dumps({"ema": said})).averages
    except (LookupError, TypeError, ValidationError) as error:
        where = folder.recipe
        raise RunError(f"{where}: its train.ema is not what zoo wrote; put the file back as it was") from error
