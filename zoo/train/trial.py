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
from zoo.train.weights import find_weights


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
    newest, _ = checkpoints.latest(run.checkpoints)
    is_done = newest is not None and newest.step >= recipe.train.steps
    # A run that is done has only its recipe compared, of which there is nothing to tell.
    Session(recipe, run, registry, world, Silent() if is_done else watcher or Silent()).run(resume=True)
    for step in sorted({*at, recipe.train.steps}):
        judged(run, registry, world, step=step, like=recipe)
    return run


def judged(
    run: RunFolder, registry: Registry, world: World, *, step: int | None = None, like: Recipe | None = None
) -> dict[str, Any]:
    """What was found of a run's averaged weights, which are judged if they have not been; it is kept in the folder.

    Args:
        run: the folder.
        registry: the parts to choose from.
        world: this process, alone.
        step: of the checkpoint; the newest sound one if left out.
        like: a recipe whose ``sample`` and ``evaluate`` sections say how to judge. If left out, whatever was done last
            will do, and the run's own recipe says it otherwise.

    Returns:
        Figures and record, as ``Evaluation.to_dict`` has them.

    Raises:
        RunError: the run has no such sound checkpoint.
        ZooError: it cannot be judged.
    """
    source = find_weights(run.path, step=step)
    assert source.checkpoint is not None
    wanted: dict[str, Any] = {"weights_sha256": source.checkpoint.digest(source.name)}
    resolved = load_recipe(run.recipe, registry=registry).resolved()
    if like is not None:
        sections = {"sample": like.sample.resolved(), "evaluate": like.evaluate.resolved()}
        wanted |= {**sections, "seed": 0}
        resolved |= sections
    known = run.read_evaluations().get(source.checkpoint.step, {})
    if all(known.get(key) == value for key, value in wanted.items()):
        return known
    found = evaluate(source.read(registry), load_recipe(resolved, registry=registry), registry, world).to_dict()
    run.write_evaluation(found)
    return found
