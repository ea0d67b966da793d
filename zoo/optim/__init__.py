"""How weights move: optimizers, and schedules of the learning rate.

``Role``, a type that is no class, is one of the words of ``Weight.role``.
"""

from __future__ import annotations

from zoo.hooks import marked_in
from zoo.hookspecs import hookimpl
from zoo.optim import adamw, muon, schedules
from zoo.optim.base import Optimizer, Role, Schedule, Weight

__all__ = ["Optimizer", "Role", "Schedule", "Weight", "zoo_parts"]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in parts that say how weights move."""
    return marked_in(adamw, muon, schedules)
