"""What checkpoints hold besides tensors, as plain values."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from zoo.distributed.distributed import Distributed
from zoo.recipe import fingerprint
from zoo.runs import checkpoint as checkpoints
from zoo.runs.made import data_to_plain
from zoo.runs.state import random_states
from zoo.train.trainer import Trainer


def origin(trainer: Trainer, run: str) -> dict[str, Any]:
    """What weights are of.

    Args:
        trainer: that has trained them.
        run: the id of the run.
    """
    recipe = trainer.job.recipe
    return {
        "run": run,
        "step": trainer.step,
        **trainer.job.classes.to_plain(),
        **data_to_plain(trainer.job.data),
        "fingerprint": fingerprint(recipe.resolved()),
        "recipe": recipe.resolved(),
        "versions": recipe.versions().to_plain(),
    }


def plain_state(trainer: Trainer, run: str, world: Distributed, *, apart: bool) -> dict[str, Any]:
    """The same with what training goes on from; every process must take part. It stays as it is while training goes on.

    Args:
        trainer: that trains.
        run: the id of the run.
        world: this process among those that take part.
        apart: whether the checkpoint is besides those that the recipe asks for.
    """
    return {
        **origin(trainer, run),
        checkpoints.APART: apart,
        "next_sample": trainer.step * trainer.options.batch,
        "skipped": trainer.skipped,
        "optimizer": deepcopy(trainer.state.plain()),
        "random": random_states(trainer.random, world),
        "ranks": trainer.world.size,
    }
