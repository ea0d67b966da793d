"""The checkpoints of a run: what is written at which step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zoo.errors import DataError, NumericError
from zoo.recipe import fingerprint
from zoo.train import checkpoint as checkpoints
from zoo.train.lost_folder import save_elsewhere
from zoo.train.run_folder import RunFolder
from zoo.train.same_data import record
from zoo.train.state import random_states
from zoo.train.trainer import Step, Trainer

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
    """

    def __init__(self, trainer: Trainer, folder: RunFolder, tell: Callable[[str], None]) -> None:
        self.trainer, self.folder, self.tell = trainer, folder, tell
        self.world, self.recipe = trainer.world, trainer.job.recipe
        self.saved = trainer.step

    def watch(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Pass on the steps of training, and when they fail, save what is whole or say what there is."""
        try:
            yield from steps
        except DataError:
            self.save()
            raise
        except NumericError as error:
            raise NumericError(f"{error}; {self._last()}; {self._way_past()}, or {ANOTHER_RUN}") from error

    def save(self) -> None:
        """Write a checkpoint, unless the last one is of this step.

        Raises:
            NumericError: weights, averages or AdamW's moments are not finite; older checkpoints are kept.
            RunError: it cannot be written; or the folder is no longer the run's, and it is saved elsewhere.
        """
        trainer, recipe = self.trainer, self.recipe
        if trainer.step == self.saved and not self.world.first(self.folder.lost):
            return
        self._check_finite()
        tensors = trainer.state.tensors(self.world)
        random = random_states(self.world)
        state = {
            "run": self.folder.run,
            "step": trainer.step,
            "next_sample": trainer.step * recipe.train.batch,
            **record(trainer.job.data),
            "skipped": trainer.skipped,
            "random": random,
            "ranks": trainer.world.size,
            "fingerprint": fingerprint(recipe.resolved()),
            "recipe": recipe.resolved(),
        }

        def write() -> None:
            if lost := self.folder.lost():
                raise save_elsewhere(self.folder, lost, recipe, trainer.step, tensors, state)
            checkpoints.save(self.folder.checkpoints, trainer.step, tensors, state)
            checkpoints.prune(self.folder.checkpoints, recipe.train.keep_last, self.folder.run)

        self.world.first(write)
        self.saved = trainer.step

    def _check_finite(self) -> None:
        bad = self.trainer.state.not_finite(self.world)
        if bad:
            more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            raise NumericError(
                f"step {self.trainer.step}: training has made what is not finite, and is not saved:"
                f" {', '.join(bad[:SHOWN])}{more}; {self._last()}; {ANOTHER_RUN}"
            )

    def _way_past(self) -> str:
        """How to go on from an update that is not finite: from the same state, the next one would be the same."""
        options = self.recipe.train
        option = f"max_skipped={10 * options.max_skipped}" if options.on_non_finite == "skip" else "on_non_finite=skip"
        return f"go on without such updates by: {self.folder.command} --set train.{option}"

    def _last(self) -> str:
        """Which checkpoint there is to go back to."""
        found, _ = checkpoints.latest(self.folder.checkpoints)
        return f"the last checkpoint is {found.path}" if found else "there is no checkpoint yet"
