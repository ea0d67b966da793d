"""The checkpoints of a run: what is written at which step.

Training stops for a copy of what it changes, from which a thread writes while it goes on. It waits for the thread where
somebody is to hear of the checkpoint, where it ends, and before the next one; then nothing is copied but from a GPU.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from zoo.callbacks import Step
from zoo.errors import NumericError, RunError, SampleError, listed, reason_not_saved
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.staging import Staging
from zoo.runs.untold import Untold
from zoo.runs.writing import Writing
from zoo.train.callbacks import VitalError
from zoo.train.elsewhere import save_elsewhere
from zoo.train.non_finite import ANOTHER_RUN, way_past
from zoo.train.plain_state import origin, plain_state
from zoo.train.pruning import Pruning
from zoo.train.trainer import Trainer

Say = Callable[[str], None]
"""Takes a line for the user."""

SHOWN = 3
"""Tensors that a message names."""


class Saver:
    """Writes the checkpoints of a run; every process takes part.

    Args:
        trainer: what is saved; the newest checkpoint is of the step that it is at.
        folder: of the run.
        tell: takes a line for the user, on the main process.

    Attributes:
        saved: the step of the last checkpoint that is known to be there, 0 where there is none.
        untold: what callbacks have still to be told of where a run goes on from a checkpoint.
    """

    def __init__(self, trainer: Trainer, folder: RunFolder, tell: Callable[[str], None]) -> None:
        self.trainer, self.folder, self.tell = trainer, folder, tell
        self.world, self.recipe = trainer.world, trainer.job.recipe
        self.saved = self._begun = trainer.step  # the latter alike on all processes
        self.untold = Untold(folder)
        self._has_room = True
        self._pruning = Pruning(trainer.options, tell)
        self._staging = Staging(trainer.world.device)
        self._writing: Writing | None = None  # on the main process alone, as what it has failed by
        self._failed: BaseException | None = None
        self._profiles = trainer.state.profiles

    @property
    def is_due(self) -> bool:
        """Whether the recipe asks for a checkpoint of this step, however it comes to be saved."""
        step, options = self.trainer.step, self.recipe.train
        return step % options.checkpoint_every == 0 or step == options.steps

    @property
    def last(self) -> str:
        """Which checkpoint there is to go back to, in words, once it is there."""
        self._look()
        if self.saved == 0:
            return "there is no checkpoint yet"
        return f"the last checkpoint is {checkpoints.path_of(self.folder.checkpoints, self.saved)}"

    @property
    def has_failed(self) -> bool:
        """Whether a thread could not write, which ``save`` will raise; known to the main process alone."""
        return self._failed is not None or (self._writing is not None and self._writing.has_failed)

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
            raise NumericError(f"{error}; {saved}; {way_past(error, self.trainer.options, self.folder)}") from error
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

    def save(self, *, wait: bool = True, snapshot: bool = False) -> None:
        """Write a checkpoint, unless the last one is of this step.

        Args:
            wait: until it is there; or else a thread writes it, and old ones go by ``land``.
            snapshot: of the averages by profile too, if there are any; before the checkpoint, from which the run goes
                on, or a crash in between would leave it out.

        Raises:
            NumericError: weights, averages or the optimizer's moments are not finite; older checkpoints are kept.
            RunError: it cannot be written, or the one before could not; or the folder is no longer the run's, and it is
                saved elsewhere.
        """
        if self._is_saved():
            return
        self._check_finite()
        if moved := self._write(apart=False, wait=wait, snapshot=snapshot):
            raise RunError(f"{moved}; {self.folder.go_on}")

    def snapshot(self) -> None:
        """Keep the averages by profile as they are, if there are any; what cannot be written the run goes on without.

        Raises:
            NumericError: weights, averages or the optimizer's moments are not finite.
            RunError: the checkpoint before could not be written.
        """
        if not self._profiles or self.world.first(self.folder.lost):  # which saving is about to say
            return
        self._check_finite()
        self._settle()
        tensors, copied = self.trainer.state.copies(self.world, self._staging, self._profiles)
        work = self._snapshot_of(tensors)
        self.world.first(lambda: self._begin(work, copied=copied))

    def land(self) -> None:
        """Let old checkpoints go if a thread has written another one by now; by the main process alone, and at once."""
        if self._writing is not None and self._writing.has_ended:
            with self.world.busy():
                self._look()
                self._prune()

    def close(self) -> None:
        """Wait for what is being written."""
        self._look()
        if self._failed is not None:  # where something else has ended the run
            self.tell(f"warning: {self._failed}")

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
        def there() -> bool:
            self._look()
            return self.saved == self.trainer.step and not self.folder.lost()

        return self.trainer.step == self._begun and self.world.first(there)

    def _look(self) -> None:
        """Wait for what this process is writing, and know which checkpoint is the last one that is there."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.wait()
            self._failed = writing.error
            for text in writing.said:
                self.tell(text)
        if self._failed is None and checkpoints.path_of(self.folder.checkpoints, self._begun).is_dir():
            self.saved = self._begun

    def _settle(self, *, forgives: bool = False) -> None:
        """Wait for what the main process is writing; every process must take part.

        Args:
            forgives: what it has failed by, since another one is about to be written, or to fail likewise.
        """

        def settle() -> int:
            landed = self._writing is not None
            self._look()
            failed, self._failed = self._failed, None
            if failed is not None and not (forgives or self.folder.lost()):
                raise self._with_a_way(failed) if isinstance(failed, RunError) else failed
            if landed and not forgives:
                self._prune()
            return self.saved

        self.saved = self._begun = self.world.first(settle)

    def _with_a_way(self, error: RunError) -> RunError:
        return RunError(f"{error}; {self.last}; mend it, and {self.folder.go_on}")

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
            self.folder, self.saved, self._begun, self._writing = lone.folder, lone.saved, lone._begun, None
        return moved

    def _write(self, *, apart: bool, wait: bool = True, snapshot: bool = False) -> str | None:
        """Write a checkpoint, and tell where, as ``save_apart`` does."""
        trainer, step, folder = self.trainer, self.trainer.step, self.folder
        self._settle(forgives=apart)
        apart = apart and not self.is_due
        if wait:
            tensors, copied = trainer.state.tensors(self.world), False
        else:
            tensors, copied = trainer.state.copies(self.world, self._staging)
        state = plain_state(trainer, self.folder.run, self.world, apart=apart)
        keep_snapshot = self._snapshot_of(tensors) if snapshot and self._profiles else None

        def write_into(folder: RunFolder) -> None:
            self._staging.wait()
            checkpoints.save(folder.checkpoints, step, tensors, state)
            folder.starts.record_checkpoint(step)

        def write_elsewhere(folder: RunFolder) -> None:
            self.untold.note(folder, checkpoint=not apart)
            write_into(folder)

        def work(say: Say) -> None:
            if keep_snapshot is not None:
                keep_snapshot(say)
            write_into(folder)

        def write() -> tuple[str, Path] | None:
            if lost := self.folder.lost():
                return lost, save_elsewhere(self.folder, lost, trainer, write_elsewhere)
            self.untold.note(self.folder, checkpoint=not apart)
            try:
                self._begin(work, copied=copied)
            except RunError as error:
                raise self._with_a_way(error) from error
            if not copied:
                self.saved = step
                if not wait:
                    self._say_that_it_waits()
                    self._prune()
            return None

        moved = self.world.first(write)
        self._begun = step
        if wait or moved:
            self.saved = step
        if moved is None:
            return None
        (how, place), before = moved, self.folder.path
        self.folder = RunFolder(place)
        return (
            f"{before}: {how} while it was trained; step {step} is saved in {place}, without older checkpoints and"
            " metrics"
        )

    def _begin(self, work: Callable[[Say], None], *, copied: bool) -> None:
        """Do what writes, or have a thread do it where it writes copies; by the main process, which writes nothing."""
        if copied:
            self._writing = self.folder.writing = Writing(work)
        else:
            work(self.tell)

    def _say_that_it_waits(self) -> None:
        if self._has_room:
            self.tell("warning: there is no memory for a copy of what is saved: training waits while it is written")
        self._has_room = False

    def _snapshot_of(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> Callable[[Say], None]:
        """What writes the averages by profile as a snapshot."""
        step, plain = self.trainer.step, origin(self.trainer, self.folder.run)
        files = {file: tensors[file] for file in self._profiles}

        def write(say: Say) -> None:
            self._staging.wait()
            try:
                checkpoints.save(self.folder.snapshots, step, files, plain)
            except RunError as error:
                say(f"warning: {error}; the run goes on without this snapshot")

        return write

    def _prune(self) -> None:
        self._pruning.prune(self.folder)

    def _check_finite(self) -> None:
        bad = self.trainer.state.not_finite(self.world)
        if bad:
            self._settle(forgives=True)
            raise NumericError(
                f"step {self.trainer.step}: training has made what is not finite, and is not saved:"
                f" {listed(bad, SHOWN)}; {self.last}; {ANOTHER_RUN}"
            )
