"""What both trackers do alike."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

from pydantic import Field

from zoo.callbacks import Training

Every = Annotated[int | None, Field(ge=1)]


def library(name: str) -> Any:
    """The tracker's own library.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(f"{name} is not installed; pip install 'diffusion-zoo-trackers[{name}]'") from error


def is_due(training: Training, line: Mapping[str, Any], every: int | None) -> bool:
    """Whether a line is sent: of updates the first at each ``every`` steps and the last one, of callbacks each."""
    if every is None or "loss" not in line or line["step"] == training.steps:
        return True
    return bool(line["step"] % every < training.recipe.train.log_every)


def is_stopped(training: Training, error: Exception | None) -> bool:
    """Whether training has been asked to stop, and is to go on."""
    return error is None and training.step < training.steps
