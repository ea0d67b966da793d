"""Which checkpoints of a run go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from zoo.best import best_of
from zoo.checkpoint_folders import checkpoints_in
from zoo.errors import RunError
from zoo.recipe.options import TrainOptions
from zoo.runs import checkpoint as checkpoints
from zoo.runs.kept_places import forget_others
from zoo.runs.run_folder import RunFolder


class Pruning:
    """Removes old checkpoints, and what belongs to them.

    Args:
        options: of the run.
        tell: takes a line for the user.
    """

    def __init__(self, options: TrainOptions, tell: Callable[[str], None]) -> None:
        self._options, self._tell = options, tell
        self._works = True

    def prune(self, folder: RunFolder) -> None:
        """Remove all but those that the options have, and the best one; what cannot be removed costs room alone."""
        try:
            best = best_of(folder.path, folder.run)
            spared = [] if best is None else [best.step]
            checkpoints.prune(folder.checkpoints, self._options.keep_last, folder.run, spared, self._options.keep_every)
            with suppress(OSError):  # and is tried again
                forget_others(folder.evaluations, [path.name for path in checkpoints_in(folder.checkpoints)])
            self._works = True
        except RunError as error:
            if self._works:  # of failures in a row the first is told
                self._tell(f"warning: {error}")
            self._works = False
