"""An evaluation of what a run has just saved, while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from zoo.evaluate.evaluation import Evaluation, evaluate
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.runs.state import AVERAGE
from zoo.train.trainer import Trainer
from zoo.weights import Weights


@contextmanager
def _numpy_as_it_is() -> Iterator[None]:
    """Let NumPy's global generator be as it was, which scikit-learn's classifiers draw from."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


def evaluate_checkpoint(trainer: Trainer, run: RunFolder) -> Evaluation:
    """An evaluation of the averaged weights; takes all processes.

    Args:
        trainer: that has them.
        run: keeps the evaluation, where it has saved a checkpoint of this step.

    Raises:
        RunError: the disk refuses.
        ZooError: as ``evaluate``.
    """
    world, job = trainer.world, trainer.job
    tensors = trainer.state.weights("ema", world, everywhere=True)

    def find() -> dict[str, str]:
        if not checkpoints.path_of(run.checkpoints, trainer.step).is_dir():
            return {"run": str(run.path), "weights": "ema"}
        checkpoint = checkpoints.at_step(run.checkpoints, trainer.step, [AVERAGE])
        digest = checkpoint.digest(AVERAGE)
        return {"run": str(run.path), "checkpoint": checkpoint.path.name, "weights": "ema", "weights_sha256": digest}

    source = world.first(find)
    weights = Weights(job.recipe, tensors, source, job.classes, job.recipe.versions(), job.data)
    write = (lambda each: run.write_evaluation(each.to_dict())) if "checkpoint" in source else None
    with _numpy_as_it_is():
        return evaluate(weights, job.recipe, world, write=write)
