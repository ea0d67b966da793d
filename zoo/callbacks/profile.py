"""Where the time of a few steps goes."""

from __future__ import annotations

import atexit
import os
from itertools import pairwise
from threading import get_ident
from typing import Annotated, Any, ClassVar
from weakref import WeakSet

import torch
from pydantic import Field
from torch.profiler import ProfilerActivity

from zoo.callbacks.base import Callback
from zoo.callbacks.training import Step, Training
from zoo.data import Dataset
from zoo.errors import RecipeError, RunError
from zoo.files import write_whole
from zoo.recipe import Recipe
from zoo.registry import part

LOG_LEVEL = "KINETO_LOG_LEVEL"
"""Of the library in PyTorch that traces: below 6, and by default, it tells on stderr when a trace begins and ends."""


@part("callback", "profile")
class Profile(Callback):
    """A trace of PyTorch's profiler, of some steps in a row on the main process, for Perfetto (ui.perfetto.dev).

    Options:
        first: step of the trace.
        last: step of the trace; a run that ends before has a trace to its end.
        shapes: record shapes of what operators take.
        memory: record what is allocated.

    Raises:
        ValueError: the last step is before the first.
    """

    _profiler: Any = None
    _thread: int | None = None
    _begun: ClassVar[WeakSet[Profile]] = WeakSet()

    def __init__(
        self,
        *,
        first: Annotated[int, Field(ge=1)] = 10,
        last: Annotated[int, Field(ge=1)] = 12,
        shapes: bool = False,
        memory: bool = False,
    ) -> None:
        if last < first:
            raise ValueError(f"last {last} is before first {first}")
        self.first, self.last, self.shapes, self.memory = first, last, shapes, memory

    def check(self, recipe: Recipe, dataset: Dataset) -> None:
        """A process has one profiler.

        Raises:
            RecipeError: traces meet.
        """
        given = [each.resolved() for each in recipe.train.callbacks if each.type == "profile"]
        spans = sorted((each["first"], each["last"]) for each in given)
        for (first, last), (following, _) in pairwise(spans):
            if following <= last + 1:
                both = f"traces from step {first} to {last} and from step {following}"
                raise RecipeError([f"{both} meet, and a process has one profiler; let a step lie between"])

    def begin(self, training: Training) -> None:
        """The trace begins, where that is before the first step to come; say so where it cannot any more."""
        if not training.tells_again:  # or it begins when that has been told
            self._start(training.step)
        if training.step >= self.first and not any(training.folder.glob(f"steps_{self.first:08d}_to_*.json")):
            later = f"let first be {training.step + 1} or more for one"
            training.say(f"note: profile: no trace is written, since step {self.first}, its first, is past; {later}")

    def step(self, training: Training, step: Step) -> None:
        """The trace begins before its first step, and is written after its last.

        Raises:
            RunError: the disk refuses; so does ``end``.
        """
        if step.step == self.last:
            self._write(training)
        self._start(step.step)

    def end(self, training: Training, error: Exception | None) -> None:
        """What there is of the trace is written."""
        self._write(training)

    def __del__(self) -> None:
        self._cut_off()

    @classmethod
    def cut_off_all(cls) -> None:
        """End the traces of runs that were cut off, however."""
        for left in list(cls._begun):
            left._cut_off()

    def _cut_off(self) -> None:
        """End the trace of a run that was cut off: left on, it crashes this process as it ends."""
        if self._profiler is not None and self._thread == get_ident():  # a profiler is its thread's
            self._profiler.stop()
            self._profiler = None

    def _start(self, step: int) -> None:
        if step + 1 == self.first:
            self.cut_off_all()  # a process has one, and stopped later the old one would take the new one's
            os.environ.setdefault(LOG_LEVEL, "6")
            cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            profiler = torch.profiler.profile(
                activities=[ProfilerActivity.CPU, *cuda], record_shapes=self.shapes, profile_memory=self.memory
            )
            profiler.start()
            self._profiler, self._thread = profiler, get_ident()
            self._begun.add(self)

    def _write(self, training: Training) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is not None:
            profiler.stop()
            if training.step >= self.first:
                path = training.file(f"steps_{self.first:08d}_to_{training.step:08d}.json")
                write_whole(path, lambda file: profiler.export_chrome_trace(file.name), RunError)


atexit.register(Profile.cut_off_all)  # what Ctrl-C leaves of a run, its traceback keeps to the end
