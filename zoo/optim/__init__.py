"""How weights move: schedules of the learning rate."""

from __future__ import annotations

from zoo.hookspecs import hookimpl
from zoo.optim.base import Schedule
from zoo.optim.schedules import ConstantSchedule, CosineSchedule, WSDSchedule

__all__ = ["Schedule", "zoo_parts"]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in parts that say how weights move."""
    return [ConstantSchedule, CosineSchedule, WSDSchedule]
