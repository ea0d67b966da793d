"""The checkpoints of a run: what is written at which step."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.best import best_of
from zoo.callbacks import Step
from zoo.checkpoint_folders import checkpoints_in
from zoo.errors import AllNotFiniteError, NumericError, RunError, SampleError, ZooError, listed, reason_not_saved
from zoo.recipe import fingerprint
from zoo.recipe.averages import Profile
from zoo.runs import checkpoint as checkpoints
from zoo.runs.kept_places import forget_others
from zoo.runs.made import data_to_plain
from zoo.runs.run_folder import RunFolder
from zoo.runs.state import average_files, random_states
from zoo.runs.untold import Untold
from zoo.train.callbacks import VitalError
from zoo.train.trainer import Trainer

ANOTHER_RUN = "begin another run, with a lower learning rate or clipped gradients"
"""What to do where going on would lead to the same again."""

SHOWN = 3
"""Tensors that a message names."""


class Saver:
    """Writes the checkpoints of a run; every process takes part.

    Args:
        trainer: what is saved; the newest checkpoint is of the step that it is at.
        folder: of the run.
        tell: takes a line for the user, on the main process.

    Attributes:
        saved: the step of the last checkpoint, 0 where there is none.
        untold: what callbacks have still to be told of where a run goes on from a checkpoint.
    """

    def __init__(self, trainer: Trainer, folder: RunFolder, tell: Callable[[str], None]) -> None:
        self.trainer, self.folder, self.tell = trainer, folder, tell
        self.world, self.recipe = trainer.world, trainer.job.recipe
        self.saved = trainer.step
        self.untold = Untold(folder)
        self._prunes = True

    @property
    def is_due(self) -> bool:
        """Whether the recipe asks for a checkpoint of this step, however it comes to be saved."""
        step, options = self.trainer.step, self.recipe.train
        return step % options.checkpoint_every == 0 or step == options.steps

    @property
    def last(self) -> str:
        """Which checkpoint there is to go back to, in words."""
        if self.saved == 0:
            return "there is no checkpoint yet"
        return f"the last checkpoint is {checkpoints.path_of(self.folder.checkpoints, self.saved)}"

    def watch(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Pass on the steps of training; where one fails, save what was trained before it, and say where it is."""
        try:
            yield from steps
        except VitalError:  # of all processes alike, between two steps
            raise
        except NumericError as error:
            try:
                saved = self._keep()
            except NumericError as before:  # the step that failed came of it, and so will all to come
                raise NumericError(f"{error}; {before}") from error
            raise NumericError(f"{error}; {saved}; {self._way_past(error)}") from error
        except Exception as error:
            traceback.clear_frames(error.__traceback__)  # of activations, where memory is what is missing
            self.trainer.updates.zero_grad()
            try:
                there = self._keep()
                if not isinstance(error, SampleError):  # which says how to go on, and would come again
                    there += f"; {self.folder.go_on}"
            except NumericError as before:  # which says what to do; what failed is still raised
                there = str(before)
            self.tell(f"step {self.trainer.step + 1} has failed; {there}")
            raise

    def save(self) -> None:
        """Write a checkpoint, unless the last one is of this step.

        Raises:
            NumericError: weights, averages or the optimizer's moments are not finite; older checkpoints are kept.
            RunError: it cannot be written; or the folder is no longer the run's, and it is saved elsewhere.
        """
        if self._is_saved():
            return
        self._check_finite()
        if moved := self._write(apart=False):
            raise RunError(f"{moved}; {self.folder.go_on}")

    def prune(self) -> None:
        """Remove old checkpoints; once callbacks have been told of the newest, which may be the best one by then."""
        self.world.first(self._prune)

    def save_apart(self) -> str | None:
        """Write a checkpoint, beside those that the recipe asks for if it asks for none of this step, since training
        has failed; no old ones go.

        Returns:
            Where it is, in words, if the run has lost its folder, and has another one from now on.

        Raises:
            NumericError, RunError: as ``save``.
        """
        if self._is_saved():
            return None
        self._check_finite()
        return self._write(apart=True)

    def _is_saved(self) -> bool:
        return self.trainer.step == self.saved and not self.world.first(self.folder.lost)

    def lone(self) -> Saver:
        """The same without the other processes, which take no part any more."""
        lone = copy(self)
        lone.world = replace(self.world, rank=0, size=1, control=None, watch=None)
        return lone

    def _keep(self) -> str:
        """Save what was trained before a step that has failed, and let older checkpoints be.

        What fails on all processes is saved by all. If this one has failed alone, or others have, they can take part in
        nothing; the main one saves by itself, unless it holds but a share of the weights.

        Returns:
            What there is to go on from, in words.

        Raises:
            NumericError: what was trained before it is not finite.
        """
        try:
            return self._kept(lonely=self.trainer.alone and self.world.size > 1)
        except NumericError:
            raise
        except Exception as error:  # the first failure is to be told, whatever comes of it
            return f"what was trained before it cannot be saved: {reason_not_saved(error)}"

    def _kept(self, *, lonely: bool) -> str:
        if not (lonely and (self.recipe.train.parallel == "fsdp" or not self.world.is_main)):  # who save nothing
            with self.world.busy():
                self.trainer.settle()
        if (self.lone() if lonely else self)._is_saved():
            return self.last
        if not self.trainer.whole:
            return f"it was in the midst of its update, and nothing could be saved; {self.last}"
        if lonely and self.recipe.train.parallel == "fsdp":
            return f"each process holds but a share of the weights, and nothing could be saved; {self.last}"
        if lonely and not self.world.is_main:
            return "the main process saves the weights before it"
        moved = self._keep_alone() if lonely else self.save_apart()
        return moved or f"the weights before it are saved: {self.last}"

    def _keep_alone(self) -> str | None:
        """The same where others have ended, or wait, for which the watch must not end this process meanwhile."""
        with self.world.busy():
            lone = self.lone()
            moved = lone.save_apart()
            self.folder, self.saved = lone.folder, lone.saved
        return moved

    def _write(self, *, apart: bool) -> str | None:
        """Write a checkpoint, and tell where, as ``save_apart`` does."""
        trainer, recipe = self.trainer, self.recipe
        apart = apart and not self.is_due
        tensors = trainer.state.tensors(self.world)
        state = {
            **self._origin(),
            checkpoints.APART: apart,
            "next_sample": trainer.step * recipe.train.batch,
            "skipped": trainer.skipped,
            "optimizer": trainer.state.plain(),
            "random": random_states(trainer.random, self.world),
            "ranks": trainer.world.size,
        }

        def write_into(folder: RunFolder) -> None:
            self.untold.note(folder, checkpoint=not apart)
            checkpoints.save(folder.checkpoints, trainer.step, tensors, state)
            folder.starts.record_checkpoint(trainer.step)

        def write() -> tuple[str, Path] | None:
            if lost := self.folder.lost():
                return lost, _save_elsewhere(self.folder, lost, trainer, write_into)
            try:
                write_into(self.folder)
            except RunError as error:
                raise RunError(f"{error}; {self.last}; mend it, and {self.folder.go_on}") from error
            return None

        moved = self.world.first(write)
        self.saved = trainer.step
        if moved is None:
            return None
        (how, place), before = moved, self.folder.path
        self.folder = RunFolder(place)
        return (
            f"{before}: {how} while it was trained; step {trainer.step} is saved in {place}, without older checkpoints"
            " and metrics"
        )

    def _origin(self) -> dict[str, Any]:
        """What weights are of, as plain values."""
        trainer, recipe = self.trainer, self.recipe
        return {
            "run": self.folder.run,
            "step": trainer.step,
            **trainer.job.classes.to_plain(),
            **data_to_plain(trainer.job.data),
            "fingerprint": fingerprint(recipe.resolved()),
            "recipe": recipe.resolved(),
            "versions": recipe.versions().to_plain(),
        }

    def snapshot(self) -> None:
        """Keep the averages by profile as they are, if there are any; what cannot be written the run goes on without.

        Raises:
            NumericError: weights, averages or the optimizer's moments are not finite.
        """
        averages = average_files(self.recipe.train.averages)
        files = {file: each for file, each in averages.items() if isinstance(each, Profile)}
        if not files or self.world.first(self.folder.lost):  # which saving is about to say
            return
        self._check_finite()
        tensors = {file: self.trainer.state.weights(f"ema:{each}", self.world) for file, each in files.items()}

        def write() -> None:
            try:
                checkpoints.save(self.folder.snapshots, self.trainer.step, tensors, self._origin())
            except RunError as error:
                self.tell(f"warning: {error}; the run goes on without this snapshot")

        self.world.first(write)

    def _prune(self) -> None:
        try:
            best = best_of(self.folder.path, self.folder.run)
            spared = [] if best is None else [best.step]
            options, folder = self.recipe.train, self.folder
            checkpoints.prune(folder.checkpoints, options.keep_last, folder.run, spared, options.keep_every)
            with suppress(OSError):  # which costs room alone, and is tried again
                left = [path.name for path in checkpoints_in(self.folder.checkpoints)]
                forget_others(self.folder.evaluations, left)
            self._prunes = True
        except RunError as error:  # which costs room on the disk alone
            if self._prunes:  # of failures in a row the first is told
                self.tell(f"warning: {error}")
            self._prunes = False

    def _check_finite(self) -> None:
        bad = self.trainer.state.not_finite(self.world)
        if bad:
            raise NumericError(
                f"step {self.trainer.step}: training has made what is not finite, and is not saved:"
                f" {listed(bad, SHOWN)}; {self.last}; {ANOTHER_RUN}"
            )

    def _way_past(self, error: NumericError) -> str:
        """How to go on from an update that is not finite: from the same state, the next one would be the same."""
        if isinstance(error, AllNotFiniteError):  # so will the next one be, of whatever samples
            return (
                f"its weights are no good any more: {ANOTHER_RUN}, from scratch or by train.init from earlier weights"
            )
        options = self.recipe.train
        option = f"max_skipped={10 * options.max_skipped}" if options.on_non_finite == "skip" else "on_non_finite=skip"
        return f"go on without such updates by: {self.folder.command} --set train.{option}, or {ANOTHER_RUN}"


def _save_elsewhere(folder: RunFolder, how: str, trainer: Trainer, write_into: Callable[[RunFolder], None]) -> Path:
    """Save what is left of a run: in the place of its folder if nothing is there, or else beside it.

    Args:
        folder: of the run; what is in its place is not touched.
        how: it was lost.
        trainer: what trains.
        write_into: writes the checkpoint into a folder.

    Returns:
        The folder that the run has now, without older checkpoints and metrics.

    Raises:
        RunError: it cannot be saved elsewhere.
    """
    place, recipe = folder.path.absolute(), trainer.job.recipe
    if os.path.lexists(place):
        place = place.with_name(f"{place.name}-{folder.run[:8]}")
    anew = RunFolder(place)
    try:
        anew.run = folder.run
        anew.create()
        anew.write(recipe, classes=trainer.job.classes)
        write_into(anew)
    except ZooError as error:
        raise RunError(
            f"{folder.path}: {how} while it was trained, and step {trainer.step} cannot be saved elsewhere: {error}"
        ) from error
    finally:
        anew.unlock()
    return place
