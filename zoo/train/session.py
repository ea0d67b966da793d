"""A run from its start, or from where it stopped, to its end: what ``zoo train`` does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo.assembly import build, check_recorded
from zoo.backbone import Backbone
from zoo.errors import DataError, NumericError, Preempted, RunError, WeightsError, ZooError
from zoo.recipe import Recipe, Recorded, differences, fingerprint, read_tree
from zoo.registry import Registry
from zoo.train import checkpoint as checkpoints
from zoo.train.board import Board
from zoo.train.distributed import World
from zoo.train.drawing import prepare_drawing
from zoo.train.job import open_job
from zoo.train.labels import labels_for
from zoo.train.pictures import grid, write_loss_curve, write_png
from zoo.train.run_folder import RunFolder
from zoo.train.state import random_states, set_random_state
from zoo.train.trainer import Step, Trainer, asked_to_stop
from zoo.train.weights import WeightsSource, find_weights
from zoo.weights import Weights, filled, refuse_other_backbone

GRID = 16
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
    _goes_on: bool = field(default=False, init=False)

    def run(self, *, resume: bool = False, stop_at: int | None = None) -> Trainer:
        """Train to the end of the recipe.

        Args:
            resume: go on from the folder's newest sound checkpoint.
            stop_at: save and stop after so many steps in all, as if asked to.

        Raises:
            ZooError: the folder is used, the recipe is another, or the batch cannot be split.
            WeightsError: what the recipe starts from is not there, or does not fit.
            DataError: data that cannot be read.
            NumericError: a loss or gradient that is not finite.
            Preempted: asked to stop, and saved.
        """
        start = self._find_start(resume=resume)  # what is missing is told before weights are made and data is read
        backbone = self._backbone()
        with self.world.together():
            job = open_job(self.recipe, backbone, self.registry, self.world.rank, self.world.size)
        self.recipe = job.recipe
        init = None if start is None else self._start_from(start, backbone)
        try:
            self.world.first(lambda: self._open_folder(resume=resume, init=init))
            trainer = Trainer(job, backbone, self.world)
            self._restore(trainer)
            last = min(self.recipe.train.steps, stop_at or self.recipe.train.steps)
            if trainer.step >= self.recipe.train.steps:
                wanted = self.recipe.train.steps
                mend = (
                    "set train.steps higher to go on"
                    if self.recipe.train.schedule == "constant"
                    else f"its learning rate has gone to zero: begin another run with train.init={self.folder.path}"
                )
                self._tell(
                    f"{self.folder.path}: has trained its {trainer.step} steps; {mend}"
                    + (f" ({wanted} are asked for)" if wanted < trainer.step else "")
                )
                return trainer
            self.world.first(lambda: self._begin_after(trainer.step))
            if self.recipe.train.tensorboard:
                self.world.first(partial(self._open_board, trainer.step))
            with asked_to_stop(patient=self.world.size > 1) as stop:  # while it is saved, too
                self._train(trainer, last, stop)
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
        backbone = build(self.recipe, device="cpu").to(self.world.device)
        own = np.random.SeedSequence([self.recipe.train.seed, self.world.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(own[0]))
        return backbone

    def _find_start(self, *, resume: bool) -> WeightsSource | None:
        """The weights that the recipe starts from, if any, and unless there is a checkpoint to go on from."""
        init = self.recipe.train.init

        def find() -> WeightsSource | None:
            if init is None or (resume and checkpoints.any_in(self.folder.checkpoints)):
                return None
            if not Path(init).exists():
                raise WeightsError(_no_start(init, self.recipe.name))
            return find_weights(Path(init))

        return self.world.first(find)  # one process chooses: a run that goes on has other checkpoints by now

    def _start_from(self, start: WeightsSource, backbone: Backbone) -> Mapping[str, Any]:
        """Take the weights that were found; and say what they are."""
        for problem in start.passed_over():
            self._tell(f"warning: {problem}")
        with self.world.together():
            weights = start.read(self.registry)
            refuse_other_backbone(start.path, weights.recipe, self.recipe)
            backbone.load_state_dict(weights.tensors)
        self._tell(f"starting from {start.path}")
        return weights.source

    def _open_folder(self, *, resume: bool, init: Mapping[str, Any] | None) -> None:
        folder = self.folder
        self._goes_on = folder.is_used and resume
        if self._goes_on:
            folder.lock()
            before = check_recorded(folder.read_recipe(), self.registry, needs=())
            self._refuse_another(before, f"{folder.path}", "leave out --recipe and --set to go on")
        else:
            if resume:
                self._tell(f"{folder.path}: holds no run to go on with; a new one begins")
            folder.create()
            folder.lock()
            folder.write(self.recipe, self.recipe.resolved(), init)

    def _open_board(self, step: int) -> None:
        self._board = Board(self.folder.path / "tensorboard", step)

    def _restore(self, trainer: Trainer) -> None:
        # One process chooses: on a shared file system, others may see another newest one.
        found, problems = self.world.first(lambda: checkpoints.latest(self.folder.checkpoints))
        for problem in problems:
            self._tell(f"warning: {problem}; it is left out")
        with self.world.together():
            if found is not None:
                self._take(found, trainer)
            elif problems:
                raise RunError(
                    f"{self.folder.checkpoints}: no checkpoint is sound: {'; '.join(problems)}; begin another run"
                )
        self._saved = trainer.step

    def _take(self, found: checkpoints.Checkpoint, trainer: Trainer) -> None:
        try:
            state = found.state()
            self._check_state(found, state, trainer)
            trainer.state.load(found)
            set_random_state(state["random"], self.world)
            trainer.step = found.step
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise RunError(f"{found.path}: state.json cannot be used: {type(error).__name__}: {error}") from error

    def _tell(self, text: str) -> None:
        if self.world.is_main:
            self.watcher.say(text)

    def _check_state(self, found: checkpoints.Checkpoint, state: dict[str, Any], trainer: Trainer) -> None:
        recorded = Recorded(str(found.path), read_tree(state["recipe"]), {})
        before = check_recorded(recorded, self.registry, needs=())
        self._refuse_another(before, f"{found.path}", "put the run's recipe.yaml back as it was")
        length = trainer.job.reader.order.length
        if state["samples"] != length:
            was = state["samples"]
            raise DataError(f"{found.path}: the dataset had {was} samples, and has {length} now; it must be the same")
        if state["ranks"] != self.world.size:
            self._tell(
                f"note: going on with {self.world.size} processes in place of {state['ranks']}: the same training up to"
                " rounding, and to what parts draw by PyTorch's own generator"
            )

    def _refuse_another(self, before: Recipe, where: str, mend: str) -> None:
        other = differences(before.resolved(), self.recipe.resolved())
        if other:
            raise ZooError(
                f"{where}: was trained by another recipe (its values first): {'; '.join(other)}; {mend}, or choose"
                " another --run-dir"
            )

    def _begin_after(self, step: int) -> None:
        if self._goes_on:
            self.folder.write(self.recipe, self.recipe.resolved())
        self.folder.forget_after(step)
        checkpoints.set_aside_after(self.folder.checkpoints, step)

    def _train(self, trainer: Trainer, last: int, stop: Callable[[], bool]) -> None:
        options = self.recipe.train
        self.world.first(partial(self.watcher.start, trainer, last))
        clock = Clock(trainer.step)
        try:
            for step in trainer.run(last, stop):
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
        advice = "begin another run, with a lower learning rate or clipped gradients"
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
            "recipe": self.recipe.resolved(),
        }

        def write() -> None:
            checkpoints.save(self.folder.checkpoints, trainer.step, tensors, state)
            checkpoints.prune(self.folder.checkpoints, self.recipe.train.keep_last)

        self.world.first(write)
        self._saved = trainer.step

    def _draw(self, trainer: Trainer) -> None:
        """A grid of samples of the averaged weights, and the loss curve; what fails in it does not end the run."""
        average = trainer.state.average(self.world)

        def draw() -> None:
            try:
                self._write_pictures(average, trainer.step)
            except Exception as error:  # a plug-in's fault as well: training is dearer than pictures
                reason = error if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
                self._tell(f"warning: no pictures of step {trainer.step}: {reason}")

        self.world.first(draw)

    def _write_pictures(self, average: Mapping[str, Tensor], step: int) -> None:
        lines = self.folder.read_metrics()
        write_loss_curve([line["step"] for line in lines], [line["loss"] for line in lines], self.folder.loss_curve)
        backbone = filled(Weights(self.recipe, average, {}), self.world.device)
        seed, stages = self.recipe.train.seed, len(backbone.stages)
        drawing = prepare_drawing(self.recipe, stages, seed, batch=GRID)
        labels = labels_for(backbone.class_conditioner, GRID, "balanced", seed, drawing.dataset.open)
        images = drawing.images(backbone, labels.values, 0)
        self.folder.samples.mkdir(exist_ok=True)
        write_png(grid(images), self.folder.samples / f"step_{step:08d}.png")


def _no_start(init: str, name: str) -> str:
    """That there is no such ``train.init``; and of a weight file, how to make it."""
    missing = f"{init}: there is no such weight file or run, and train.init of {name} starts from it"
    fresh = "set train.init to null to start from fresh weights"
    if not init.endswith(".safetensors"):
        return f"{missing}; {fresh}"
    return (
        f"{missing}; published weights become it by `zoo import CHECKPOINT --recipe DONOR --out donor.safetensors` and"
        f" `zoo inflate donor.safetensors --recipe RECIPE --out {init}`, DONOR being the checkpoint's recipe, such as"
        f" sit_xl, and RECIPE the one to train; {fresh}"
    )
