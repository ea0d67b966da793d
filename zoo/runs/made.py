"""What weights are made with, packages and data: by all processes alike, and what a checkpoint tells of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zoo.data.fingerprint import Fingerprint
from zoo.distributed.distributed import Distributed
from zoo.errors import PluginError, RunError
from zoo.recipe import Made, Recipe, Versions
from zoo.runs.checkpoint import Checkpoint


def refuse_other_versions(recipe: Recipe, world: Distributed) -> None:
    """Refuse to train with other packages, files of parts or parts than the main process; every process takes part.

    Raises:
        PluginError: a process has others.
    """
    main = world.first(recipe.versions)
    with world.together():
        other = main.otherwise(recipe.versions())
        if other is not None:
            raise PluginError(f"process {world.rank}: process 0 has {other}; give all processes the same")


def made_with(checkpoint: Checkpoint, state: Mapping[str, Any]) -> Made:
    """The packages and parts that a checkpoint was made with.

    Raises:
        RunError: its state does not tell.
    """
    try:
        versions = Versions.read(state["versions"])
    except (ValueError, KeyError) as error:
        raise RunError(
            f"{checkpoint.path}: state.json does not tell the versions that it was made with; put it back as it was"
        ) from error
    return Made(str(checkpoint.path), str(checkpoint.path.parent.parent), versions)


def data_to_plain(data: Fingerprint) -> dict[str, Any]:
    """What a checkpoint holds of a fingerprint, as plain values: ``data``, and the names of ``classes``."""
    values = data.model_dump(mode="json")
    return {"classes": values.pop("classes"), "data": values}


def data_in(state: Mapping[str, Any], where: Path) -> Fingerprint:
    """The fingerprint that a checkpoint holds.

    Raises:
        RunError: it is not what zoo wrote.
    """
    try:
        return Fingerprint.model_validate_json(json.dumps({**state["data"], "classes": state["classes"]}))
    except (ValidationError, KeyError, TypeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise RunError(f"{where}: what state.json says of the data cannot be used: {reason}") from error
