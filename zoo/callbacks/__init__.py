"""What is told how a run goes: callbacks."""

from __future__ import annotations

from zoo.callbacks import evaluate, pictures, profile, tensorboard, validate
from zoo.callbacks.base import Callback
from zoo.callbacks.training import HeldOut, Step, Training, numbers
from zoo.hooks import marked_in
from zoo.hookspecs import hookimpl

__all__ = ["Callback", "HeldOut", "Step", "Training", "numbers", "zoo_parts"]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in callbacks."""
    return marked_in(evaluate, pictures, profile, tensorboard, validate)
