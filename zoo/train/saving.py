"""The checkpoints of a run: what is written at which step.

Training stops for a copy of what it changes, from which a thread writes while it goes on. It waits for the thread where
somebody is to hear of the checkpoint, where it ends, and before the next one; then nothing is copied but from a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from zoo.errors import NumericError, RunError, listed
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.staging import Staging
from zoo.runs.untold import Untold
from zoo.runs.writing import Writing
from zoo.train.elsewhere import save_elsewhere, told_elsewhere
from zoo.train.non_finite import ANOTHER_RUN
from zoo.train.plain_state import plain_state
from zoo.train.pruning import Pruning
from zoo.train.snapshots import Say, snapshot_of
from zoo.train.trainer import Trainer

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

    def save(self, *, wait: bool = True, snapshot: bool = False) -> None:
        """Write a checkpoint, unless the last one is of this step.

        Args:
            wait: until it is there; or else a thread writes it, and old ones go by ``land``.
            snapshot: of the averages by profile too, if there are any; before the checkpoint, from which the run goes
                on, or a crash in between would leave it out.

        Raises:
            NumericError: weights, averages or the optimizer's moments are not finite; older checkpoints are kept.
            RunError: it cannot be written; or the one before could not, whether or not this one is there now; or the
                folder is no longer the run's, and it is saved elsewhere.
        """
        if self.is_saved():
            return
        self._check_finite()
        self._settle_or_save(snapshot=snapshot)
        if moved := self._write(apart=False, wait=wait, snapshot=snapshot):
            raise RunError(f"{moved}; {self.folder.go_on}")

    def snapshot(self) -> None:
        """Keep the averages by profile as they are, if there are any; what cannot be written the run goes on without.

        Raises:
            NumericError: weights, averages or the optimizer's moments are not finite.
            RunError: the checkpoint before could not be written; there is one of this step now, if that can be.
        """
        if not self._profiles or self.world.first(self.folder.lost):  # which saving is about to say
            return
        self._check_finite()
        self._settle_or_save(snapshot=True)
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
        with self.world.busy():  # or the watch might end this process amid the write
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
        if self.is_saved():
            return None
        self._check_finite()
        self._settle(forgives=True)
        return self._write(apart=True)

    def save_alone(self) -> str | None:
        """The same where others have ended, or wait, for which the watch must not end this process meanwhile."""
        with self.world.busy():
            self._look()
            lone = self.lone()
            self._failed = None  # which the other tells
            moved = lone.save_apart()
            self.folder, self.saved, self._begun = lone.folder, lone.saved, lone._begun
        return moved

    def is_saved(self) -> bool:
        """Whether there is a checkpoint of this step, once nothing is being written; every process takes part."""

        def there() -> bool:
            self._look()
            return self.saved == self.trainer.step and not self.folder.lost()

        return self.trainer.step == self._begun and self.world.first(there)

    def _look(self) -> None:
        """Wait for what this process is writing, and know which checkpoint is the last one that is there."""
        if (writing := self._writing) is not None:
            writing.wait()
            self._writing = None  # not before, or who looks meanwhile would not wait
            self._failed = writing.error
            for text in writing.said:
                self.tell(text)
        if self._failed is None and checkpoints.path_of(self.folder.checkpoints, self._begun).is_dir():
            self.saved = self._begun

    def _settle(self, *, forgives: bool = False) -> None:
        """Wait for what the main process is writing; every process must take part.

        Args:
            forgives: what it has failed by, which is told, since another one is about to be written, or training fails.

        Raises:
            RunError: it could not write, and is not forgiven; unless the run has lost its folder: that is told soon.
        """

        def settle() -> int:
            landed = self._writing is not None
            self._look()
            failed, self._failed = self._failed, None
            if failed is not None and not self.folder.lost():
                if not forgives:
                    raise failed
                self.tell(f"warning: {failed}")
            if landed and not forgives:
                self._prune()
            return self.saved

        self.saved = self._begun = self.world.first(settle)

    def _settle_or_save(self, *, snapshot: bool) -> None:
        """The same; where the thread could not write, this step is saved before that is raised: it may pass by now."""
        try:
            self._settle()
        except RunError as error:  # on all processes
            before, now = (
                str(checkpoints.path_of(self.folder.checkpoints, step)) for step in (self._begun, self.trainer.step)
            )
            self._settle(forgives=True)
            try:
                moved = self._write(apart=True, snapshot=snapshot)
            except RunError as again:
                if str(error).replace(before, now) in str(again):  # the same fault
                    raise
                raise RunError(f"{error}; {again}") from again
            raise self._with_a_way(error, moved) from error

    def _with_a_way(self, error: RunError, moved: str | None = None) -> RunError:
        there = moved or self.last
        return RunError(f"{error}; {there}; mend it, and {self.folder.go_on}")

    def lone(self) -> Saver:
        """The same without the other processes, which take no part any more."""
        lone = copy(self)
        lone.world = replace(self.world, rank=0, size=1, control=None, watch=None)
        return lone

    def _write(self, *, apart: bool, wait: bool = True, snapshot: bool = False) -> str | None:
        """Write a checkpoint while nothing is being written, and tell where, as ``save_apart`` does."""
        trainer, step, folder = self.trainer, self.trainer.step, self.folder
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
            self._begun = step  # though others may never hear of it
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
        return told_elsewhere(before, how, step, place)

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
        files = {file: tensors[file] for file in self._profiles}
        return snapshot_of(self.trainer, self.folder, self._staging, files)

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
