"""A run from its start, or from where it stopped, to its end: what ``zoo train`` does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo.assembly import build, check_recorded
from zoo.backbone import Backbone
from zoo.callbacks import Step
from zoo.checkpoint_folders import checkpoints_in, newest_states, step_of
from zoo.classes import UNKNOWN, Classes, renamed
from zoo.devices import products_in_float32
from zoo.distributed.distributed import Distributed
from zoo.distributed.stopping import asked_to_stop, refuse_to_begin
from zoo.errors import DataError, MissingFolderError, Preempted, RunError, WeightsError, in_words
from zoo.flow import Objective, objective_of
from zoo.recipe import Recipe, absolute, changes, no_run
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.made import refuse_other_versions
from zoo.runs.metrics_file import forget_after
from zoo.runs.optimizer import held_rules
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import WeightsSource, find_weights
from zoo.sampling.beside_data import refuse_inside_data
from zoo.sampling.leaving_out import with_ids
from zoo.sampling.second import find_second, read_second
from zoo.shell import command
from zoo.train.callbacks import Callbacks, VitalError
from zoo.train.failed_steps import watched
from zoo.train.job import Job, open_job
from zoo.train.records import Records
from zoo.train.rescue import rescue
from zoo.train.resuming import refuse_another, restore
from zoo.train.same_data import agreed, where_it_moved
from zoo.train.saving import Saver
from zoo.train.trainer import Trainer
from zoo.weights import Weights, adapt, are_the_donors, class_rows, refuse_other_backbone


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


@dataclass
class Run:
    """A run in its folder.

    Args:
        recipe: what to train.
        folder: where.
        registry: the parts to choose from.
        world: this process among those of the job.
        watcher: is told how it goes.
        asked: keys of the recipe, dotted, that are another on purpose where the run goes on.
    """

    recipe: Recipe
    folder: RunFolder
    registry: Registry
    world: Distributed
    watcher: Watcher
    asked: Collection[str] = ()
    was_asked_to_stop: bool = field(default=False, init=False)  # by now, also where its last step was the next to end
    _before: Recipe | None = field(default=None, init=False)  # of the run that goes on, on the main process
    _classes: Classes = field(default=UNKNOWN, init=False)

    def train(self, *, resume: bool = False, stop_at: int | None = None) -> Trainer:
        """Train to the end of the recipe.

        Args:
            resume: go on from the folder's newest sound checkpoint.
            stop_at: save and stop after so many steps in all, as if asked to.

        Raises:
            ZooError: the folder is used, the recipe is another, or the batch cannot be split.
            WeightsError: what the recipe starts from is not there, or does not fit.
            PluginError: another process has other versions of parts.
            DataError: data that cannot be read.
            NumericError: a loss or gradient that is not finite.
            Preempted: asked to stop, and saved.
        """
        refuse_other_versions(self.recipe, self.world)
        # Or it would mean something else where its record is read, or when.
        self.recipe = with_ids(absolute(self.recipe), self.world)
        if not (resume and self.folder.is_used):
            refuse_inside_data(self.folder.path, self.recipe, "choose another --run-dir")
        start = self._find_start(resume=resume)  # what is missing is told before weights are made and data is read
        objective = self._objective()
        with self.world.together():
            job = self._open_job(objective, resume=resume and self.folder.is_used)
        job = agreed(job, self.world)
        self.recipe, self._classes = job.recipe, job.classes
        for note in job.notes:
            self._tell(note)
        init = None if start is None else self._start_from(start, objective.backbone)
        with asked_to_stop(patient=self.world.size > 1) as stop:  # until all is saved
            try:
                refuse_to_begin(self.world, stop)
                self.folder.run = self.world.first(lambda: self._open_folder(resume=resume, init=init))
                job.reader.of_run(self.folder.commands)
                trainer = Trainer(job, objective, self.world)
                self._go_on(trainer, stop, stop_at or self.recipe.train.steps)
                return trainer
            finally:
                self.was_asked_to_stop = stop()
                self.folder.unlock()

    def _open_job(self, objective: Objective, *, resume: bool) -> Job:
        try:
            job = open_job(self.recipe, objective, self.registry, self.world.rank, self.world.size)
            return replace(job, second=read_second(find_second(self.recipe), job.recipe, self.registry))
        except DataError as error:
            if resume and (moved := where_it_moved(self.recipe, self.folder.command)):
                # A dataset may have said how to make such a folder, which is no matter any more.
                missing = error.__cause__ if isinstance(error.__cause__, MissingFolderError) else error
                raise DataError(f"{missing}{moved}") from error
            raise

    def _go_on(self, trainer: Trainer, stop: Callable[[], bool], stop_at: int) -> None:
        """Train from the newest checkpoint on, if there is any."""
        steps = self.recipe.train.steps
        self._before = restore(trainer, self.folder, self.registry, self._tell, self.asked) or self._before
        saver = Saver(trainer, self.folder, self._tell)
        note = self.world.first(lambda: saver.untold.of(trainer.step))
        if trainer.step >= steps and note is None:
            mend = (
                "set train.steps higher to go on"
                if self._may_be_longer()
                else "--set train.steps=MORE goes on by the learning rates of a longer schedule; another run begins"
                " with its weights by `zoo train --recipe"
                f" {self.folder.path / 'recipe.yaml'} --set train.init={self.folder.path} --run-dir ANOTHER`"
            )
            asked = f" ({steps} are asked for)" if steps < trainer.step else ""
            self._tell(f"{self.folder.path}: has trained its {trainer.step} steps; {mend}{asked}")
            return
        self.world.first(lambda: self._begin_after(trainer.step))
        with (
            products_in_float32(self.recipe.train.matmul, self.world.device),
            closing(saver),
            closing(Records(trainer, self.folder, self._tell)) as records,
            self.world.working(lambda: trainer.step, partial(rescue, saver)),
        ):
            callbacks = Callbacks(trainer, records, self._tell, saver.untold)
            try:
                callbacks.begin(note)
                if note is not None:
                    saver.prune()
                self._train(trainer, min(steps, stop_at), stop, saver, records, callbacks)
            except Exception as error:
                callbacks.fail(error)
                if isinstance(error, VitalError):
                    saved = saver.save_apart() or saver.last
                    raise RunError(f"{error}; {saved}; mend it, and {saver.folder.go_on}") from error
                raise
        if trainer.step < steps:
            done = f", and saved after step {trainer.step} of {steps}" if trainer.step else " before its first step"
            raise Preempted(f"{self.folder.path}: asked to stop{done}; {self.folder.go_on}")

    def _may_be_longer(self) -> bool:
        """Whether a run that is at its end might go on by more steps."""
        steps = self.recipe.train.steps
        longer = self.recipe.model_copy(update={"train": self.recipe.train.model_copy(update={"steps": 2 * steps})})
        return bool(held_rules(self.recipe, longer, steps))

    def _objective(self) -> Objective:
        """The same on every process, whatever its device."""
        torch.manual_seed(self.recipe.train.seed)
        objective = objective_of(self.recipe, build(self.recipe, device="cpu")).to(self.world.device)
        own = np.random.SeedSequence([self.recipe.train.seed, self.world.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(own[0]))
        return objective

    def _find_start(self, *, resume: bool) -> WeightsSource | None:
        """The weights that the recipe starts from, if any, and unless there is a checkpoint to go on from."""
        given = self.recipe.train.start

        def find() -> WeightsSource | None:
            if given is None or (resume and checkpoints_in(self.folder.checkpoints)):
                return None
            if not Path(given.weights).exists():
                raise WeightsError(_no_start(given.weights, self.recipe.name))
            return find_weights(Path(given.weights))

        return self.world.first(find)  # one process chooses: a run that goes on has other checkpoints by now

    def _start_from(self, start: WeightsSource, backbone: Backbone) -> Mapping[str, Any]:
        """Take the weights that were found; and say what they are."""
        for problem in start.passed_over():
            self._tell(f"warning: {problem}")
        with self.world.together():
            weights = start.read(self.registry, other_parts="told")
            tensors, done = self._fitting(start, weights, backbone)
            backbone.load_state_dict(tensors)
        for line in done:
            self._tell(f"train.init: {line}")
        trained_on, here = weights.classes.names, self._classes.names
        other = renamed(trained_on, here) if trained_on and here else None
        if other is not None and (not done or class_rows(weights, self.recipe, here).are_by_number):
            self._tell(f"warning: {start.path}: has learned other classes than those of the data: {other}")
        self._tell(f"starting from {start.path}")
        return {**weights.source, **({"adapted": done} if done else {})}

    def _fitting(
        self, start: WeightsSource, weights: Weights, backbone: Backbone
    ) -> tuple[Mapping[str, Tensor], list[str]]:
        """The tensors to start from, and what has been done to make them."""
        given = self.recipe.train.start
        if given is None or given.fit == "exact" or are_the_donors(weights, self.recipe, self._classes.names):
            mend = f"; train.init={{weights: {start.path}, fit: adapt}} takes of them what fits"
            refuse_other_backbone(start.path, weights.recipe, self.recipe, mend)
            return weights.tensors, []
        surgery = adapt(weights, self.recipe, backbone.state_dict(), self.registry, self._classes.names)
        return surgery.tensors, [*surgery.notes, *surgery.lines()]

    def _open_folder(self, *, resume: bool, init: Mapping[str, Any] | None) -> str:
        """Make the folder this run's, whose id it gives."""
        folder = self.folder
        if folder.is_used and resume:
            warning = folder.lock()
            if missing := folder.missing_checkpoints():
                raise RunError(f"{missing} To begin anew, remove {folder.path} or choose another --run-dir")
            self._before = check_recorded(folder.read_recipe(), self.registry, needs=())
            done = next((step_of(path) for path, _ in newest_states(folder.checkpoints)), 0)
            refuse_another(
                folder.path, self._before, self.recipe, done, "leave out --recipe and --set to go on", self.asked
            )
        else:
            if resume:
                self._tell(f"{folder.path}: holds no run to go on with; a new one begins")
            warning = folder.create()
            folder.write(self.recipe, init, classes=self._classes)
        if warning is not None:
            self._tell(f"warning: {warning}")
        return folder.run

    def _tell(self, text: str) -> None:
        if self.world.is_main:
            self._watched(partial(self.watcher.say, text))

    def _watched(self, show: Callable[[], None]) -> None:
        """Show how it goes; what fails in it on the main process alone would leave the others waiting for it."""
        try:
            show()
        except Exception as error:
            with suppress(OSError):  # nobody reads it
                warnings.warn(f"progress cannot be shown: {in_words(error)}", stacklevel=2)

    def _begin_after(self, step: int) -> None:
        if self._before is not None:
            changed = changes(self._before.resolved(), self.recipe.resolved())
            for change in changed:
                self._tell(f"note: going on with {change}")
            record = [{"step": step, **change.to_dict()} for change in changed]
            self.folder.write(self.recipe, changes=record, classes=self._classes)
        try:
            forget_after(self.folder.metrics, step)
        except RunError as error:  # training is dearer than metrics that are told twice
            self._tell(f"warning: metrics of later steps stay: {error}")
        for place in (self.folder.checkpoints, self.folder.snapshots):
            try:
                checkpoints.set_aside_after(place, step, self.folder.run)
            except RunError as error:  # which matters once training has come to their steps, if it does
                self._tell(f"warning: {error}")

    def _train(
        self,
        trainer: Trainer,
        last: int,
        stop: Callable[[], bool],
        saver: Saver,
        records: Records,
        callbacks: Callbacks,
    ) -> None:
        options = self.recipe.train
        if self.world.is_main:
            self._watched(partial(self.watcher.start, trainer, last))
        begun, left_out, snapshot_every = trainer.step, 0, options.snapshot_every or options.checkpoint_every
        steps = trainer.run(last, lambda: stop() or self.folder.lost() is not None or saver.has_failed)
        for step in watched(callbacks.told(steps), saver):
            if step.skipped:
                left_out += 1
                self._tell(f"warning: {step.skipped}; this update is left out")
            speed = records.log(step)
            if self.world.is_main:
                self._watched(partial(self.watcher.step, step, speed))
            saver.land()
            snapshot = step.step % snapshot_every == 0 or step.step == options.steps
            if saver.is_due or step.step == last or step.stop:
                wait = callbacks.hear_of_checkpoints or step.step == last or step.stop
                saver.save(wait=wait, snapshot=snapshot)
                if wait:
                    callbacks.checkpoint()
                    saver.prune()
            elif snapshot:
                saver.snapshot()
        saver.save()
        if left_out:
            of = f"{left_out} of {trainer.step - begun} updates"
            newest = f", the last {trainer.skipped} among them" if trainer.skipped else ""
            self._tell(f"warning: {of} were left out, since they were not finite{newest}")
        if trainer.step == options.steps:
            records.draw_loss()
        callbacks.end()


def _no_start(init: str, name: str) -> str:
    """That there is no such ``train.init``; and of a weight file, how to make it."""
    missing = f"{no_run(Path(init), or_file=True)}; train.init of {name} starts from it"
    fresh = "set train.init to null to start from fresh weights"
    if not init.endswith(".safetensors"):
        return f"{missing}; {fresh}"
    return (
        f"{missing}; published weights become it by `zoo import CHECKPOINT --recipe DONOR --out donor.safetensors`"
        f" and `zoo inflate donor.safetensors --recipe RECIPE {command('--out', init)}`, DONOR being the checkpoint's"
        f" recipe, such as sit_xl, and RECIPE the one to train; {fresh}"
    )
