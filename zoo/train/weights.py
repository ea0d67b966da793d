"""Weights to start from or to draw with: a weight file's, or a run's."""

from __future__ import annotations

from pathlib import Path

from zoo.assembly import load_recipe
from zoo.errors import RunError
from zoo.registry import Registry
from zoo.train import checkpoint as checkpoints
from zoo.train.run_folder import load_run
from zoo.train.state import AVERAGE, MODEL
from zoo.weights import Weights, read_weights


def open_weights(path: Path, registry: Registry, *, raw: bool = False) -> Weights:
    """The weights of a file that zoo wrote, or of the newest sound checkpoint of a run.

    Args:
        path: a weight file, or the folder of a run.
        registry: the parts to choose from.
        raw: of a run, take the last weights in place of the averaged ones.

    Raises:
        WeightsError: the file cannot be used.
        RunError: the run has no sound checkpoint.
    """
    if not path.is_dir():
        return read_weights(path, registry)
    run = load_run(path)
    found, problems = checkpoints.latest(run.checkpoints)
    if found is None:
        raise RunError(f"{path}: there is no sound checkpoint: {'; '.join(problems) or 'none has been written yet'}")
    name = MODEL if raw else AVERAGE
    source = {"run": str(path), "checkpoint": found.path.name, "weights": name, "sha256": found.digest(name)}
    return Weights(load_recipe(run.recipe, registry=registry), found.tensors(name), source)
