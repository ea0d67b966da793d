"""Going on with a run: what it must have in common with the run as it was, and the state that it takes up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from zoo.assembly import TRAINED, check_recorded, check_versions
from zoo.errors import RecipeError, RunError, ZooError
from zoo.recipe import Recipe, Recorded, differences, read_tree, rules
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.made import data_in, made_with
from zoo.runs.optimizer import held_rules
from zoo.runs.run_folder import RunFolder
from zoo.runs.state import AVERAGE, set_random_state
from zoo.train.same_data import refuse_changed
from zoo.train.trainer import Trainer


def restore(
    trainer: Trainer, folder: RunFolder, registry: Registry, tell: Callable[[str], None], asked: Collection[str] = ()
) -> Recipe | None:
    """Take up the newest sound checkpoint of a run, if it has any.

    Args:
        trainer: takes it; every process takes part.
        folder: of the run.
        registry: the parts to choose from.
        tell: takes a line for the user, on the main process.
        asked: keys of the recipe that are another from here on.

    Returns:
        What the checkpoint was trained by.

    Raises:
        RunError: there are checkpoints, but none is sound, or it does not fit the recipe.
        ZooError: it is of another recipe.
        PluginError: it was trained with parts of other packages, or of other versions of themselves.
        DataError: it is of other data.
    """
    # One process chooses: on a shared file system, others may see another newest one.
    found, problems = trainer.world.first(lambda: checkpoints.latest(folder.checkpoints))
    for problem in problems:
        tell(f"warning: {problem}; it is left out")
    with trainer.world.together():
        if found is not None:
            return _take(found, trainer, folder, registry, tell, asked)
        if problems:
            weights, _ = checkpoints.latest(folder.checkpoints, [AVERAGE])
            anew = "begin another run"
            if weights is not None:
                anew += f" from the weights of {weights.path.name} with train.init={folder.path}"
            raise RunError(f"{folder.checkpoints}: no checkpoint is sound: {'; '.join(problems)}; {anew}")
    return None


def refuse_another(
    where: object, before: Recipe, recipe: Recipe, done: int, mend: str, asked: Collection[str] = ()
) -> None:
    """Refuse a recipe that would train something else than the one before, by which so many updates are done.

    Raises:
        ZooError: it would; the message says in what they differ.
    """
    held = held_rules(before, recipe, done, asked)
    other = differences(before.resolved(), recipe.resolved(), held)
    if other:
        rule = "".join(f"; {each}" for each in rules(before.resolved(), recipe.resolved(), held))
        raise ZooError(
            f"{where}: was trained by another recipe (its values first): {'; '.join(other)}{rule};"
            f" {mend}, or choose another --run-dir"
        )


def _take(
    found: checkpoints.Checkpoint,
    trainer: Trainer,
    folder: RunFolder,
    registry: Registry,
    tell: Callable[[str], None],
    asked: Collection[str],
) -> Recipe:
    try:
        state = found.state()
        if trainer.world.is_main and state["run"] != folder.run:
            raise RunError(
                f"{found.path}: is of another run ({state['run']}) than this folder ({folder.run}, as run.json says);"
                " move it elsewhere to go on without it"
            )
        now = trainer.job.recipe.resolved()
        told = [key for key, value in folder.starts.changed(found.step) if _at(now, key) == value]
        before = _check(found, state, trainer, registry, tell, [*asked, *told])
        trainer.state.load(found)
        set_random_state(state["random"], trainer.world)
        trainer.step, trainer.skipped = found.step, int(state["skipped"])
        return before
    except ZooError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{found.path}: state.json cannot be used: {type(error).__name__}: {error}") from error


def _at(value: Any, key: str) -> Any:
    """The value at a dotted key of plain values; None where there is none."""
    for each in key.split("."):
        value = value[int(each)] if isinstance(value, list) else value.get(each) if isinstance(value, dict) else None
    return value


def _check(
    found: checkpoints.Checkpoint,
    state: dict[str, Any],
    trainer: Trainer,
    registry: Registry,
    tell: Callable[[str], None],
    asked: Collection[str],
) -> Recipe:
    made = made_with(found, state)
    if not isinstance(state["recipe"], Mapping):  # what is text would be the name of a recipe
        raise TypeError("its recipe is no mapping")
    try:
        before = check_recorded(Recorded(str(found.path), read_tree(state["recipe"]), made), registry, needs=())
    except RecipeError as error:
        raise RunError(f"{found.path}: the recipe in state.json cannot be used: {'; '.join(error.problems)}") from error
    refuse_another(
        found.path, before, trainer.job.recipe, found.step, "put the run's recipe.yaml back as it was", asked
    )
    check_versions(made, trainer.job.recipe, TRAINED)
    left_out = trainer.job.reader.order.left_out.ids
    for warning in refuse_changed(data_in(state, found.path), trainer.job.data, found.path, left_out):
        tell(f"warning: {warning}")
    ranks = trainer.world.size
    if state["ranks"] == ranks > len(state["random"]):
        tell("note: one process saved alone: the same training up to what parts draw by PyTorch's own generator")
    if state["ranks"] != ranks:
        tell(
            f"note: going on with {ranks} processes in place of {state['ranks']}: the same training up to rounding, and"
            " to what parts draw by PyTorch's own generator"
        )
    return before
