"""How weights move: optimizers, and schedules of the learning rate.

``Role``, a type that is no class, is one of the words of ``Weight.role``.
"""

from __future__ import annotations

from zoo.hookspecs import hookimpl
from zoo.optim.adamw import AdamW
from zoo.optim.base import Optimizer, Role, Schedule, Weight
from zoo.optim.muon import Muon
from zoo.optim.schedules import ConstantSchedule, CosineSchedule, WSDSchedule

__all__ = ["Optimizer", "Role", "Schedule", "Weight", "zoo_parts"]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in parts that say how weights move."""
    return [AdamW, Muon, ConstantSchedule, CosineSchedule, WSDSchedule]
