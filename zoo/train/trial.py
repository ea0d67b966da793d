"""A trial: a recipe trained to its end and judged, once; what is there already is not done again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from zoo.assembly import TRAINED, check_recorded, create_part, load_recipe
from zoo.data import Dataset
from zoo.data.left_out import ids_in
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError, Preempted, RunError, ZooError
from zoo.evaluate.beside import features_for
from zoo.evaluate.evaluation import evaluate
from zoo.evaluate.evaluation_record import digest_of_real
from zoo.recipe import Recipe, all_differences, differences
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.judged import way_of
from zoo.runs.optimizer import held_rules
from zoo.runs.run_folder import RunFolder
from zoo.runs.state import AVERAGE
from zoo.runs.untold import noted
from zoo.runs.weights import find_weights
from zoo.sampling.leaving_out import with_ids
from zoo.sampling.second import find_second, read_second
from zoo.train import same_data
from zoo.train.callbacks import VitalError
from zoo.train.run import Run, Silent, Watcher


def train_and_judge(
    recipe: Recipe,
    folder: Path,
    registry: Registry,
    world: Distributed,
    *,
    at: Sequence[int] = (),
    watch: Callable[[], AbstractContextManager[Watcher]] = lambda: nullcontext(Silent()),
) -> dict[int, dict[str, Any]]:
    """Train a recipe in a folder, or go on with what is there, and judge its samples.

    Args:
        recipe: what to train.
        folder: of the run.
        registry: the parts to choose from.
        world: this process, alone.
        at: judge after these steps too, whose checkpoints the recipe has to write and to keep.
        watch: for the time of training, gives a watcher that is told how it goes.

    Returns:
        By step, what was found after every step of ``at`` and at the end: figures and record.

    Raises:
        ZooError: the folder holds a run of another recipe, or the recipe cannot be trained or judged.
        DataError: the features need a file that is not there.
        Preempted: asked to stop, and saved.
    """
    recipe = with_ids(recipe, world)
    features_for(recipe)  # after training it would be late to hear of what they lack
    run = RunFolder(folder)
    newest, _ = checkpoints.latest(run.checkpoints, [AVERAGE])  # all that a run at its end is judged by
    trained_by = partial(Run, recipe, run, registry, world)
    if newest is None or newest.step < recipe.train.steps:
        with watch() as watcher:
            training = trained_by(watcher)
            training.train(resume=run.is_used)
        if training.was_asked_to_stop:  # in its last step, after which nothing was left to save
            raise Preempted(f"{folder}: is trained, and is not judged yet; the same command goes on")
    else:
        _refuse_another(run, recipe, registry)
        _refuse_changed_data(run, recipe)
        if newest.step == recipe.train.steps and noted(run, newest.step) is not None:
            with watch() as watcher:
                _tell_callbacks(trained_by(watcher))
    trained = check_recorded(run.read_recipe(), registry, TRAINED).resolved()  # with what is recorded with the data
    sections = {each: getattr(recipe, each).resolved() for each in ("train", "sample", "evaluate")}
    like = load_recipe({**trained, **sections}, registry=registry)
    return {step: judge_run(run, like, registry, world, step=step) for step in sorted({*at, recipe.train.steps})}


def judge_run(
    run: RunFolder, recipe: Recipe, registry: Registry, world: Distributed, *, step: int | None = None
) -> dict[str, Any]:
    """What is found of a run's averaged weights; it is kept in the folder, if that can be, and not done again.

    Args:
        run: the folder.
        recipe: the run's, with the ``sample``, ``data`` and ``evaluate`` sections to judge by.
        registry: the parts to choose from.
        world: this process, alone.
        step: of the checkpoint; the newest sound one if left out.

    Returns:
        Figures and record, as ``Evaluation.to_dict`` has them.

    Raises:
        RunError: the run has no such sound checkpoint.
        ZooError: it cannot be judged.
    """
    recipe = with_ids(recipe, world)
    source = find_weights(run.path, step=step)
    for problem in source.passed_over():
        warnings.warn(problem, stacklevel=2)
    assert source.checkpoint is not None
    digest = source.checkpoint.digest(source.name)
    asked = {section: getattr(recipe, section).resolved() for section in ("sample", "evaluate", "data")} | {"seed": 0}
    second = read_second(find_second(recipe), recipe, registry)
    asked["second_weights"] = None if second is None else second.source
    of_weights = [each for each in run.read_evaluations() if each["weights_sha256"] == digest]
    known = [each for each in of_weights if way_of(each) == way_of({**each, **asked})]
    try:
        real_data = digest_of_real(create_part(recipe, "dataset"), recipe)
    except DataError as error:
        if not known:
            raise
        warnings.warn(f"{run.path}: its figures stand as they were found: {error}", stacklevel=2)
        return known[-1]
    for each in known:
        if each.get("real_data") == real_data:
            return each
    how = " beside this data" if known else " in this way" if of_weights else ""
    heading = f"{run.path}: not judged{how} yet;"
    found = evaluate(source.read(registry), recipe, world, registry=registry, heading=heading).to_dict()
    try:
        run.write_evaluation(found)
    except RunError as error:  # somebody else's run, perhaps
        warnings.warn(str(error), stacklevel=2)
    return found


def _tell_callbacks(run: Run) -> None:
    """Tell the callbacks of a trained run of its last step, before which it was cut off."""
    try:
        run.train(resume=True)
    except (DataError, RunError) as error:
        if isinstance(error.__cause__, VitalError | BlockingIOError):  # the latter where another process has the folder
            raise
        warnings.warn(f"{run.folder.path}: callbacks are not told of its last step: {error}", stacklevel=2)


def _refuse_another(run: RunFolder, recipe: Recipe, registry: Registry) -> None:
    """Refuse a recipe that would train something else than the run has; recorded statistics of the data aside."""
    trained = check_recorded(run.read_recipe(), registry, needs=())
    before, wanted = trained.resolved(), recipe.resolved()
    before["data"]["normalize"] = wanted["data"]["normalize"]
    other = differences(before, wanted, held_rules(trained, recipe, recipe.train.steps))
    if before["data"]["leave_out"] != wanted["data"]["leave_out"]:  # which may change while a run goes on
        other += all_differences(*({"data": {"leave_out": each["data"]["leave_out"]}} for each in (before, wanted)))
    if other:
        raise ZooError(
            f"{run.path}: was trained by another recipe (its values first): {'; '.join(other)}; choose another folder"
        )


def _refuse_changed_data(run: RunFolder, recipe: Recipe) -> None:
    """Refuse what is trained already on data that has changed since; data that is gone can be no other."""
    try:
        dataset: Dataset = create_part(recipe, "dataset")
        now = dataset.open("train").fingerprint()
    except DataError:
        return
    for warning in same_data.changes_since_newest(run, now, ids_in(recipe.data.leave_out)):
        warnings.warn(warning, stacklevel=2)
