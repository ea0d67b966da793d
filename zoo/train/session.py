"""A run from its start, or from where it stopped, to its end: what ``zoo train`` does."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from zoo.assembly import build, load_recipe
from zoo.backbone import Backbone
from zoo.errors import DataError, NumericError, Preempted, RunError, ZooError
from zoo.recipe import Recipe, differences, fingerprint
from zoo.registry import Registry
from zoo.train import checkpoint as checkpoints
from zoo.train.board import Board
from zoo.train.distributed import World
from zoo.train.drawing import labels_for, prepare_drawing
from zoo.train.job import open_job
from zoo.train.pictures import grid, write_loss_curve, write_png
from zoo.train.run_folder import RunFolder
from zoo.train.state import random_states, set_random_state
from zoo.train.trainer import Step, Trainer

GRID = 64
"""Samples of the grids that a run draws."""


class Watcher(Protocol):
    """Is told how training goes; on the main process alone."""

    def start(self, trainer: Trainer, last: int) -> None:
        """Training begins, at step ``trainer.step``, towards ``last``."""

    def step(self, step: Step, images_per_second: float | None) -> None:
        """An update has been done; the speed comes with the lines of the metrics."""

    def say(self, text: str) -> None:
        """Something worth a line."""


class Silent:
    """Watches without a word."""

    def start(self, trainer: Trainer, last: int) -> None:
        """Nothing."""

    def step(self, step: Step, images_per_second: float | None) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


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


@dataclass
class Session:
    """A run in its folder.

    Args:
        recipe: what to train.
        folder: where.
        registry: the parts to choose from.
        world: this process among those of the job.
        watcher: is told how it goes.
    """

    recipe: Recipe
    folder: RunFolder
    registry: Registry
    world: World
    watcher: Watcher
    _saved: int = field(default=0, init=False)  # the step of the newest checkpoint
    _board: Board | None = field(default=None, init=False)

    def run(self, *, resume: bool = False, stop_at: int | None = None) -> Trainer:
        """Train to the end of the recipe.

        Args:
            resume: go on from the folder's newest sound checkpoint.
            stop_at: save and stop after so many steps in all, as if asked to.

        Raises:
            ZooError: the folder is used, the recipe is another, or the batch cannot be split.
            DataError: data that cannot be read.
            NumericError: a loss or gradient that is not finite.
            Preempted: asked to stop, and saved.
        """
        backbone = self._backbone()
        job, error = None, None
        try:
            job = open_job(self.recipe, backbone, self.registry, self.world.rank, self.world.size)
        except ZooError as caught:
            error = caught
        self.world.agree(error)
        assert job is not None
        self.recipe = job.recipe
        self.world.first(lambda: self._open_folder(resume=resume))
        try:
            trainer = Trainer(job, backbone, self.world)
            self._restore(trainer)
            last = min(self.recipe.train.steps, stop_at or self.recipe.train.steps)
            if trainer.step >= self.recipe.train.steps:
                self._tell(f"{self.folder.path}: has trained its {trainer.step} steps; set train.steps higher to go on")
                return trainer
            if self.recipe.train.tensorboard:
                self.world.first(partial(self._open_board, trainer.step))
            self._train(trainer, last)
            if trainer.step < last or last < self.recipe.train.steps:
                raise Preempted(
                    f"{self.folder.path}: asked to stop, and saved after step {trainer.step} of"
                    f" {self.recipe.train.steps}; go on with: zoo train --resume --run-dir {self.folder.path}"
                )
            return trainer
        finally:
            if self._board is not None:
                self._board.close()
            self.folder.unlock()

    def _backbone(self) -> Backbone:
        """The same on every process, whatever its device."""
        torch.manual_seed(self.recipe.train.seed)
        backbone = build(self.recipe, registry=self.registry, device="cpu").to(self.world.device)
        own = np.random.SeedSequence([self.recipe.train.seed, self.world.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(own[0]))
        return backbone

    def _open_folder(self, *, resume: bool) -> None:
        folder = self.folder
        if folder.is_used and resume:
            folder.lock()
            before = load_recipe(folder.recipe, registry=self.registry)
            other = differences(before.resolved(), self.recipe.resolved())
            if other:
                raise ZooError(
                    f"{folder.path}: was trained by another recipe, which had {'; '.join(other)}; leave --recipe out to"
                    " go on, or choose another --run-dir"
                )
        else:
            folder.create()
            folder.lock()
        folder.write(self.recipe, self.registry, self.recipe.resolved())

    def _open_board(self, step: int) -> None:
        self._board = Board(self.folder.path / "tensorboard", step)

    def _restore(self, trainer: Trainer) -> None:
        found, problems = checkpoints.latest(self.folder.checkpoints)
        for problem in problems:
            self._tell(f"warning: {problem}; it is left out")
        error = None
        try:
            if found is not None:
                state = found.state()
                self._check_state(found, state, trainer)
                trainer.state.load(found)
                trainer.step = found.step
                set_random_state(state["random"], self.world)
            elif problems:
                raise RunError(f"{self.folder.checkpoints}: no checkpoint is sound: {'; '.join(problems)}")
        except ZooError as caught:
            error = caught
        self.world.agree(error)
        self._saved = trainer.step
        self.world.first(lambda: self._forget_after(trainer.step))

    def _tell(self, text: str) -> None:
        if self.world.is_main:
            self.watcher.say(text)

    def _check_state(self, found: checkpoints.Checkpoint, state: dict[str, Any], trainer: Trainer) -> None:
        if state["fingerprint"] != fingerprint(self.recipe.resolved()):
            raise RunError(f"{found.path}: was made by another recipe than this run's recipe.yaml")
        length = trainer.job.reader.order.length
        if state["samples"] != length:
            before = state["samples"]
            raise DataError(
                f"{found.path}: the dataset had {before} samples, and has {length} now; it must be the same"
            )

    def _forget_after(self, step: int) -> None:
        self.folder.forget_after(step)
        checkpoints.set_aside_after(self.folder.checkpoints, step)

    def _train(self, trainer: Trainer, last: int) -> None:
        options = self.recipe.train
        if self.world.is_main:
            self.watcher.start(trainer, last)
        clock = Clock(trainer.step)
        try:
            for step in trainer.run(last):
                speed = None
                if step.step % options.log_every == 0 or step.step == options.steps:
                    speed = clock.steps_per_second(step.step) * options.batch
                    self.world.first(partial(self._log, step, speed))
                if self.world.is_main:
                    self.watcher.step(step, speed)
                if step.step % options.checkpoint_every == 0 and step.step < last:
                    self._save(trainer)
                if options.sample_every and step.step % options.sample_every == 0 and step.step < last:
                    self._draw(trainer)
        except DataError:
            self._save(trainer)
            raise
        except NumericError as error:
            raise NumericError(f"{error}; {self._last_checkpoint()}") from error
        self._save(trainer)
        if trainer.step == options.steps:
            self._draw(trainer)

    def _last_checkpoint(self) -> str:
        found, _ = checkpoints.latest(self.folder.checkpoints)
        advice = "take a lower learning rate, or clip gradients"
        return f"the last checkpoint is {found.path}; {advice}" if found else f"there is no checkpoint yet; {advice}"

    def _log(self, step: Step, speed: float) -> None:
        line = {**step.metrics(), "images_per_second": round(speed, 2)}
        with self.folder.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            self._board.write(line)

    def _save(self, trainer: Trainer) -> None:
        """Write a checkpoint, unless the last one is of this step."""
        if trainer.step == self._saved:
            return
        tensors = trainer.state.tensors(self.world)
        random = random_states(self.world)
        state = {
            "step": trainer.step,
            "next_sample": trainer.step * self.recipe.train.batch,
            "samples": trainer.job.reader.order.length,
            "random": random,
            "ranks": self.world.size,
            "fingerprint": fingerprint(self.recipe.resolved()),
        }

        def write() -> None:
            checkpoints.save(self.folder.checkpoints, trainer.step, tensors, state)
            checkpoints.prune(self.folder.checkpoints, self.recipe.train.keep_last)

        self.world.first(write)
        self._saved = trainer.step

    def _draw(self, trainer: Trainer) -> None:
        """A grid of samples of the averaged weights, and the loss curve."""
        average = trainer.state.average(self.world)

        def draw() -> None:
            backbone = build(self.recipe, registry=self.registry, device="meta").to_empty(device=self.world.device)
            backbone.load_state_dict(average)
            drawing = prepare_drawing(self.recipe, self.registry, len(backbone.stages), self.recipe.train.seed)
            count = min(GRID, drawing.batch)
            labels = labels_for(backbone, count)
            images = drawing.images(backbone.eval(), labels, 0)
            self.folder.samples.mkdir(exist_ok=True)
            write_png(grid(images), self.folder.samples / f"step_{trainer.step:08d}.png")
            lines = self.folder.read_metrics()
            write_loss_curve([line["step"] for line in lines], [line["loss"] for line in lines], self.folder.loss_curve)

        self.world.first(draw)
