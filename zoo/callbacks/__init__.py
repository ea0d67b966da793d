"""What is told how a run goes: callbacks."""

from __future__ import annotations

from zoo.callbacks.base import Callback
from zoo.callbacks.evaluate import Evaluate
from zoo.callbacks.pictures import Pictures
from zoo.callbacks.profile import Profile
from zoo.callbacks.tensorboard import TensorBoard
from zoo.callbacks.training import HeldOut, Step, Training, numbers
from zoo.callbacks.validate import Validate
from zoo.hookspecs import hookimpl

__all__ = ["Callback", "HeldOut", "Step", "Training", "numbers", "zoo_parts"]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in callbacks."""
    return [Pictures, Profile, TensorBoard, Validate, Evaluate]
