"""What a run shows of itself besides its checkpoints: its metrics, and the curve of its loss."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo.callbacks import Step
from zoo.errors import ZooError, in_words, words_of
from zoo.files import append_line, reason_of
from zoo.pictures import write_loss_curve
from zoo.runs.metrics_file import forget_after, read_losses
from zoo.runs.run_folder import RunFolder
from zoo.train.trainer import Trainer

KEPT_LINES = 10_000
"""Lines of the metrics that are kept in memory where they cannot be written."""


class Records:
    """Writes the metrics of a run, and at last the curve of its loss; what cannot be written does not end it.

    Args:
        trainer: what trains.
        folder: of the run.
        tell: takes a line for the user, on the main process.

    Attributes:
        hear: is told of every line, on the main process.
        see: is told of every picture of a callback, with the name of its folder, on the main process.
    """

    def __init__(self, trainer: Trainer, folder: RunFolder, tell: Callable[[str], None]) -> None:
        self.trainer, self.folder, self.tell = trainer, folder, tell
        self.world, self.recipe = trainer.world, trainer.job.recipe
        self.hear: Callable[[Mapping[str, Any]], None] = lambda line: None
        self.see: Callable[[str, np.ndarray], None] = lambda name, image: None
        self._last = trainer.step, time.perf_counter()
        self._unwritten: deque[str] = deque(maxlen=KEPT_LINES)
        self._failing: set[str] = set()
        self._held = False

    def log(self, step: Step) -> float | None:
        """Write a line of the metrics where one is due, and one of every update that was left out.

        Returns:
            Images per second since the last line; None where none is due.
        """
        options = self.recipe.train
        if step.skipped:
            self.world.first(lambda: self.append(step.metrics()))
            return None
        if step.step % options.log_every and step.step != options.steps:
            return None
        (before, since), self._last = self._last, (step.step, time.perf_counter())
        speed = (step.step - before) / (self._last[1] - since) * options.batch
        self.world.first(lambda: self.append({**step.metrics(), "images_per_second": round(speed, 2)}))
        return speed

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line, on the main process alone."""
        self._unwritten.append(json.dumps(line))
        self._write_lines()
        self.hear(line)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have lines wait in memory meanwhile."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.close()

    def forget(self, step: int, again: Collection[str]) -> list[dict[str, Any]]:
        """Drop what callbacks wrote of the step that training goes on from, and will write again; on the main process.

        Args:
            step: of the lines.
            again: these callbacks.

        Returns:
            The other lines of the step; none where the file cannot be read or written.
        """
        if not self.folder.lost():
            with self._goes_on_without(self.folder.metrics.name):
                return forget_after(self.folder.metrics, step, again)
        return []

    def draw_loss(self) -> None:
        """The curve of the loss."""

        def draw() -> None:
            if self.folder.lost():
                return
            with self._goes_on_without(self.folder.loss_curve.name):
                write_loss_curve(*read_losses(self.folder.metrics), self.folder.loss_curve)

        self.world.first(draw)

    def close(self) -> None:
        """Bring everything to the disk."""
        if self.world.is_main:
            self._write_lines()

    def _write_lines(self) -> None:
        """Write the lines of the metrics that are not written yet."""
        if self._held or self.folder.lost():  # which saving is about to say
            return
        name = self.folder.metrics.name
        with self._goes_on_without(name):
            torn = "\n" if name in self._failing else ""  # what the last try may have left is ended, and passed over
            while self._unwritten:
                append_line(self.folder.metrics, torn + self._unwritten[0])
                self._unwritten.popleft()
                torn = ""

    @contextmanager
    def _goes_on_without(self, what: str) -> Iterator[None]:
        """Do what training is dearer than; of failures in a row the first is told."""
        try:
            yield
        except Exception as error:
            if what not in self._failing:
                reason = reason_of_failure(error)
                self.tell(f"warning: {what}: not written, and the run goes on without: {reason}")
            self._failing.add(what)
        else:
            self._failing.discard(what)


def reason_of_failure(error: BaseException) -> str:
    """What has failed, in words of a line."""
    if isinstance(error, ZooError):
        return str(error)
    if isinstance(error, ImportError):
        return words_of(error)
    if isinstance(error, OSError):
        return reason_of(error)
    if isinstance(error, SystemExit):
        return "it ends the process, by sys.exit or its like"
    return in_words(error)
