"""What a checkpoint was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import RunError
from zoo.recipe import Made, Versions
from zoo.train.checkpoint import Checkpoint


def made_with(checkpoint: Checkpoint, state: Mapping[str, Any]) -> Made:
    """The packages and parts that a checkpoint was made with.

    Raises:
        RunError: its state does not tell.
    """
    try:
        versions = Versions.read(state["versions"])
    except (ValueError, KeyError) as error:
        raise RunError(f"{checkpoint.path}: state.json does not tell the versions that it was made with") from error
    return Made(str(checkpoint.path), str(checkpoint.path.parent.parent), versions)
