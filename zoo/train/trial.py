"""A trial: a recipe trained to its end and judged, once; what is there already is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.assembly import load_recipe
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.train import checkpoint as checkpoints
from zoo.train.distributed import World
from zoo.train.evaluation import evaluate
from zoo.train.run_folder import RunFolder
from zoo.train.session import Session, Silent, Watcher
from zoo.train.weights import find_weights, open_weights


def train_and_judge(
    recipe: Recipe,
    folder: Path,
    registry: Registry,
    world: World,
    *,
    at: Sequence[int] = (),
    watcher: Watcher | None = None,
) -> RunFolder:
    """Train a recipe in a folder, or go on with what is there, and judge its samples.

    Args:
        recipe: what to train.
        folder: of the run.
        registry: the parts to choose from.
        world: this process, alone.
        at: judge after these steps too; their checkpoints are kept.
        watcher: is told how training goes.

    Returns:
        The folder, whose ``read_evaluations`` has what was found after every step of ``at`` and at the end.

    Raises:
        ZooError: the folder holds a run of another recipe, or the recipe cannot be trained or judged.
        Preempted: asked to stop, and saved.
    """
    run = RunFolder(folder)
    steps = recipe.train.steps
    newest, _ = checkpoints.latest(run.checkpoints)
    if newest is None or newest.step < steps:
        Session(recipe, run, registry, world, watcher or Silent()).run(resume=True)
    found = run.read_evaluations()
    for step in sorted({*at, steps} - found.keys()):
        judge_run(run, registry, world, step)
    return run


def judge_run(run: RunFolder, registry: Registry, world: World, step: int) -> dict[str, Any]:
    """Judge a run's averaged weights of a step as its recipe says, and keep what was found in its folder.

    Returns:
        Figures and record, as ``Evaluation.to_dict`` has them.
    """
    recipe = load_recipe(run.recipe, registry=registry)
    found = evaluate(open_weights(run.path, registry, step=step), recipe, registry, world).to_dict()
    run.write_evaluation(found)
    return found


def judge_newest(run: RunFolder, registry: Registry, world: World) -> dict[str, Any]:
    """What was found of a run's newest averaged weights, which are judged if they have not been.

    Raises:
        RunError: the run has no sound checkpoint.
    """
    source = find_weights(run.path)
    assert source.checkpoint is not None
    known = run.read_evaluations().get(source.checkpoint.step)
    if known is not None and known.get("weights_sha256") == source.checkpoint.digest(source.name):
        return known
    return judge_run(run, registry, world, source.checkpoint.step)
