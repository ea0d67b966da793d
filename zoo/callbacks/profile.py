"""Where the time of a few steps goes."""

from __future__ import annotations

import os
from typing import Annotated, Any

import torch
from pydantic import Field
from torch.profiler import ProfilerActivity

from zoo.callbacks.base import Callback
from zoo.callbacks.training import Step, Training
from zoo.errors import RunError
from zoo.files import write_whole
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
        if self._profiler is not None:  # of a run that was cut off: left on, it crashes this process as it ends
            self._profiler.stop()

    def _start(self, step: int) -> None:
        if step + 1 == self.first:
            os.environ.setdefault(LOG_LEVEL, "6")
            cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            profiler = torch.profiler.profile(
                activities=[ProfilerActivity.CPU, *cuda], record_shapes=self.shapes, profile_memory=self.memory
            )
            profiler.start()
            self._profiler = profiler

    def _write(self, training: Training) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is not None:
            profiler.stop()
            if training.step >= self.first:
                path = training.file(f"steps_{self.first:08d}_to_{training.step:08d}.json")
                write_whole(path, lambda file: profiler.export_chrome_trace(file.name), RunError)
