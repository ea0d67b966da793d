"""The checkpoints of a run: what is written at which step."""

from __future__ import annotations

from collections.abc import Callable

from zoo.recipe import fingerprint
from zoo.train import checkpoint as checkpoints
from zoo.train.run_folder import RunFolder
from zoo.train.state import random_states
from zoo.train.trainer import Trainer


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

    def save(self) -> None:
        """Write a checkpoint, unless the last one is of this step."""
        trainer, recipe = self.trainer, self.recipe
        if trainer.step == self.saved:
            return
        tensors = trainer.state.tensors(self.world)
        random = random_states(self.world)
        state = {
            "step": trainer.step,
            "next_sample": trainer.step * recipe.train.batch,
            "samples": trainer.job.reader.order.length,
            "random": random,
            "ranks": self.world.size,
            "fingerprint": fingerprint(recipe.resolved()),
            "recipe": recipe.resolved(),
        }

        def write() -> None:
            checkpoints.save(self.folder.checkpoints, trainer.step, tensors, state)
            checkpoints.prune(self.folder.checkpoints, recipe.train.keep_last)

        self.world.first(write)
        self.saved = trainer.step

    def last(self) -> str:
        """Which checkpoint there is to go back to, and what to do where going on would lead to the same again."""
        found, _ = checkpoints.latest(self.folder.checkpoints)
        advice = "begin another run, with a lower learning rate or clipped gradients"
        return f"the last checkpoint is {found.path}; {advice}" if found else f"there is no checkpoint yet; {advice}"
