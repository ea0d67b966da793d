"""What to do about numbers that are not finite."""

from __future__ import annotations

from zoo.errors import AllNotFiniteError, NumericError
from zoo.recipe.options import TrainOptions
from zoo.runs.run_folder import RunFolder

ANOTHER_RUN = "begin another run, with a lower learning rate or clipped gradients"
"""What to do where going on would lead to the same again."""


def way_past(error: NumericError, options: TrainOptions, folder: RunFolder) -> str:
    """How to go on from an update that is not finite: from the same state, the next one would be the same."""
    if isinstance(error, AllNotFiniteError):  # so will the next one be, of whatever samples
        return f"its weights are no good any more: {ANOTHER_RUN}, from scratch or by train.init from earlier weights"
    option = f"max_skipped={10 * options.max_skipped}" if options.on_non_finite == "skip" else "on_non_finite=skip"
    return f"go on without such updates by: {folder.command} --set train.{option}, or {ANOTHER_RUN}"
