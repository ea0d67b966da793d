"""What callbacks promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from zoo.callbacks.training import Step, Training
from zoo.data import Dataset
from zoo.recipe import Recipe


class Callback:
    """Is told how a run goes. Constructor: ``(*, options)``.

    Each method may be left out. What one raises is told once, and the run goes on; where ``begin`` fails, without the
    callback. Nothing that it does may change the training: it draws no number from a global generator, and touches
    neither weights nor a module's mode. What is the process's (what signals do, the working folder, streams) is put
    back after each method, and a line says so; a thread that it begins ends in ``end``. A run that goes on makes a new
    object, and starts at the step of a checkpoint: what a callback has to remember is in its folder, and what it wrote
    there of later steps will come again. So will that step itself, where the run was cut off before all callbacks had
    been told of it: see ``Training.tells_again``.

    Attributes:
        everywhere: whether it is called on every process, each with an object of its own; else on the main one alone.
            It then has to fail on all of them alike, or on none in the midst of what takes all.
        vital: whether a failure of its ends the run; the weights are saved before.
        writes_to: its folder in the run; called as the part is if None. Those of one name share it.
    """

    kind: ClassVar[str] = "callback"
    everywhere: bool = False
    vital: bool = False
    writes_to: str | None = None

    def check(self, recipe: Recipe, dataset: Dataset) -> None:
        """Refuse what it can do nothing with, before anything is written.

        Args:
            recipe: that is to be trained.
            dataset: the recipe's.

        Raises:
            RecipeError: why, and how to mend it.
        """

    def begin(self, training: Training) -> None:
        """Training begins, or goes on from the step of a checkpoint; the next update is still to come."""

    def step(self, training: Training, step: Step) -> None:
        """An update has been done, or left out. Where a checkpoint is due it is saved by now, the last one too."""

    def log(self, training: Training, line: Mapping[str, Any]) -> None:
        """A line went into metrics.jsonl, whoever wrote it; always on the main process alone.

        Args:
            line: ``step``, and numbers, texts, lists or mappings by name.
        """

    def show(self, training: Training, name: str, image: np.ndarray) -> None:
        """A callback has shown a picture, of this step; always on the main process alone.

        Args:
            name: that of the folder where it is, such as ``samples``.
            image: 8-bit [H, W, 1 or 3].
        """

    def checkpoint(self, training: Training) -> None:
        """A checkpoint of this step has been saved."""

    def end(self, training: Training, error: Exception | None) -> None:
        """Training ends: all steps are done, or the run was asked to stop and will go on; all is saved.

        Args:
            error: what training has failed by, if it has; then all else is uncertain, and none is called that is
                ``everywhere``.
        """
