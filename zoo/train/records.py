"""What a run shows of itself besides its checkpoints: metrics, curves and pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from torch import Tensor

from zoo.errors import ZooError
from zoo.files import append_line
from zoo.train.board import Board
from zoo.train.drawing import prepare_drawing
from zoo.train.labels import labels_for
from zoo.train.pictures import grid, write_loss_curve, write_png
from zoo.train.run_folder import RunFolder
from zoo.train.trainer import Step, Trainer
from zoo.weights import Weights, filled

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
    """Writes metrics and pictures of a run.

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
        """A grid of samples of the averaged weights, and the loss curve; what fails in it does not end the run."""
        average, step = self.trainer.state.average(self.world), self.trainer.step

        def draw() -> None:
            if self.folder.lost():
                return
            try:
                self._write_pictures(average, step)
            except Exception as error:  # a plug-in's fault as well: training is dearer than pictures
                reason = error if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
                self.tell(f"warning: no pictures of step {step}: {reason}")

        self.world.first(draw)

    def close(self) -> None:
        """Bring everything to the disk."""
        if self._board is not None:
            self._board.close()

    def _open_board(self) -> None:
        self._board = Board(self.folder.path / "tensorboard", self.trainer.step)

    def _write(self, line: Mapping[str, object]) -> None:
        self._append(line)
        if self._board is not None:
            self._board.write(line)

    def _append(self, line: Mapping[str, object]) -> None:
        if not self.folder.lost():  # or saving is about to say so
            append_line(self.folder.metrics, json.dumps(line))

    def _write_pictures(self, average: Mapping[str, Tensor], step: int) -> None:
        lines = [line for line in self.folder.read_metrics() if "loss" in line]
        write_loss_curve([line["step"] for line in lines], [line["loss"] for line in lines], self.folder.loss_curve)
        backbone = filled(Weights(self.recipe, average, {}), self.world.device)
        seed, stages = self.recipe.train.seed, len(backbone.stages)
        drawing = prepare_drawing(self.recipe, stages, seed, batch=GRID)
        there = self.trainer.job.data.known_classes.with_samples
        labels = labels_for(backbone.class_conditioner, GRID, "balanced", seed, drawing.samples, there)
        images = drawing.images(backbone, labels.values, 0)
        self.folder.samples.mkdir(exist_ok=True)
        write_png(grid(images), self.folder.own(self.folder.samples / f"step_{step:08d}.png"))
