"""What a run shows of itself besides its checkpoints: metrics, curves and pictures."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor

from zoo.errors import RunError, ZooError
from zoo.files import append_line, reason_of
from zoo.train.board import Board
from zoo.train.drawing import prepare_drawing
from zoo.train.figures import Step
from zoo.train.labels import labels_for
from zoo.train.pictures import grid, write_loss_curve, write_png
from zoo.train.run_folder import RunFolder
from zoo.train.trainer import Trainer
from zoo.weights import Weights, filled

BOARD = "TensorBoard's event files"

KEPT_LINES = 10_000
"""Lines of the metrics that are kept in memory where they cannot be written."""

GRID = 16
"""Samples of the grids that a run draws."""


class Clock:
    """Tells how fast steps go by."""

    def __init__(self, step: int) -> None:
        self._step, self._since = step, time.perf_counter()

    def steps_per_second(self, step: int) -> float:
        """The mean since the last call."""
        now, done = time.perf_counter(), step - self._step
        seconds = now - self._since
        self._step, self._since = step, now
        return done / seconds


class Records:
    """Writes metrics and pictures of a run; what cannot be written does not end it.

    Args:
        trainer: what trains.
        folder: of the run.
        tell: takes a line for the user, on the main process.

    Raises:
        RunError: TensorBoard is wanted and not installed.
    """

    def __init__(self, trainer: Trainer, folder: RunFolder, tell: Callable[[str], None]) -> None:
        self.trainer, self.folder, self.tell = trainer, folder, tell
        self.world, self.recipe = trainer.world, trainer.job.recipe
        self._clock = Clock(trainer.step)
        self._unwritten: deque[str] = deque(maxlen=KEPT_LINES)
        self._failing: set[str] = set()
        self._board: Board | None = None
        if self.recipe.train.tensorboard:
            self.world.first(self._open_board)

    def log(self, step: Step) -> float | None:
        """Write a line of the metrics where one is due, and one of every update that was left out.

        Returns:
            Images per second since the last line; None where none is due.
        """
        options = self.recipe.train
        if step.skipped:
            self.world.first(lambda: self._append(step.metrics()))
            return None
        if step.step % options.log_every and step.step != options.steps:
            return None
        speed = self._clock.steps_per_second(step.step) * options.batch
        self.world.first(lambda: self._write({**step.metrics(), "images_per_second": round(speed, 2)}))
        return speed

    def draw(self) -> None:
        """The loss curve, and of latents that are pictures a grid of samples of the averaged weights.

        What fails in it does not end the run.
        """
        average, step = self.trainer.state.average(self.world), self.trainer.step

        def draw() -> None:
            if self.folder.lost():
                return
            with self._goes_on_without(self.folder.loss_curve.name):
                self._write_loss_curve()
            if self.trainer.job.dataset.makes_images:
                with self._goes_on_without(f"samples of step {step}"):
                    self._write_samples(average, step)

        self.world.first(draw)

    def close(self) -> None:
        """Bring everything to the disk."""
        if self.world.is_main:
            self._write_lines()
        if self._board is not None:
            with self._goes_on_without(BOARD):
                self._board.close()

    def _open_board(self) -> None:
        with suppress(OSError):  # which is told, and tried again, when there is something to write
            self._board = self._new_board(self.trainer.step)

    def _new_board(self, step: int) -> Board:
        return Board(self.folder.path / "tensorboard", step)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._append(line)
        if self.recipe.train.tensorboard:
            with self._goes_on_without(BOARD):
                board, self._board = self._board or self._new_board(line["step"] - 1), None  # a new one if this fails
                board.write(line)
                self._board = board

    def _append(self, line: Mapping[str, Any]) -> None:
        self._unwritten.append(json.dumps(line))
        self._write_lines()

    def _write_lines(self) -> None:
        """Write the lines of the metrics that are not written yet."""
        if self.folder.lost():  # saving is about to say so
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
        """Do what training is dearer than, a plug-in's faults included; of failures in a row the first is told."""
        try:
            yield
        except Exception as error:
            if what not in self._failing:
                self.tell(f"warning: {what}: not written, and the run goes on without: {_reason_of(error)}")
            self._failing.add(what)
        else:
            self._failing.discard(what)

    def _write_loss_curve(self) -> None:
        write_loss_curve(*self.folder.read_losses(), self.folder.loss_curve)

    def _write_samples(self, average: Mapping[str, Tensor], step: int) -> None:
        backbone = filled(Weights(self.recipe, average, {}), self.world.device)
        seed = self.recipe.train.seed
        beside = self.trainer.job.second
        second = None if beside is None else filled(beside, self.world.device)
        drawing = prepare_drawing(self.recipe, seed, GRID, second)
        there = self.trainer.job.classes.with_samples
        labels = labels_for(backbone.conditioner, GRID, "balanced", seed, drawing.samples, there)
        images = drawing.images(backbone, labels.values, 0)
        try:
            self.folder.samples.mkdir(exist_ok=True)
        except FileExistsError:
            raise RunError(f"{self.folder.samples}: is no folder; move it elsewhere") from None
        write_png(grid(images), self.folder.own(self.folder.samples / f"step_{step:08d}.png"))


def _reason_of(error: Exception) -> str:
    if isinstance(error, ZooError):
        return str(error)
    if isinstance(error, OSError):
        return reason_of(error)
    return f"{type(error).__name__}: {error}"
