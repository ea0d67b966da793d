"""The recipe of a run, from its recipe.yaml or, where that is lost, from a checkpoint. Free of torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.checkpoint_folders import newest_states
from zoo.errors import RecipeError, RunError, did_you_mean, listed
from zoo.files import did_you_mean_file
from zoo.json_files import read_json
from zoo.recipe.recorded import Recorded
from zoo.recipe.schema import SECTIONS
from zoo.recipe.source import read_yaml
from zoo.recipe.tree import Overrides, read_tree
from zoo.recipe.versions import Made, Versions


def holds_run(path: Path) -> bool:
    """Whether there is a run in a folder."""
    return (path / "recipe.yaml").exists() or any(_states(path))


def run_of(path: Path) -> Path | None:
    """The run that a path among its checkpoints or snapshots is of; None for any other path."""
    for each in (path, *path.parents):
        if each.name in ("checkpoints", "snapshots") and holds_run(each.parent):
            return each.parent
    return None


def no_run(path: Path, *, or_file: bool = False) -> RunError:
    """The error that there is no run in a folder, and no weight file in its place where that would do as well."""
    if not path.exists():
        return RunError(
            f"{path}: there is no such {'weight file or run' if or_file else 'run'}{_beside(path, or_file=or_file)}"
        )
    if (run := run_of(path)) is not None:
        return RunError(f"{path}: holds no run, but is of one; give that run, {run}")
    made = "give the folder that `zoo train` made" + ", or a weight file" * or_file
    return RunError(f"{path}: holds no run (no recipe.yaml, and no checkpoint); {made}")


def _beside(path: Path, *, or_file: bool) -> str:
    """What to add where there is no such run: what is meant beside it, or the runs that there are."""
    if or_file and path.suffix == ".safetensors" and (meant := did_you_mean_file(path, (path.suffix,))):
        return meant
    with suppress(OSError):
        runs = sorted(each.name for each in path.parent.iterdir() if holds_run(each))
        return did_you_mean(path.name, runs) or (f"; runs beside it: {listed(runs)}" if runs else "")
    return ""


def recorded_in(run: Path, overrides: Overrides = (), step: int | None = None) -> Recorded:
    """The recipe of a run's folder, overridden, with what a checkpoint was made with; not yet checked.

    Where recipe.yaml is lost or damaged, the newest checkpoint that tells it stands in, with a warning.

    Args:
        run: the folder.
        overrides: of the recipe.
        step: of the checkpoint; the newest if left out.

    Raises:
        RunError: the folder holds no run, or the recipe is damaged and there is no checkpoint.
        RecipeError: an override is of no such form.
    """
    recipe = run / "recipe.yaml"
    damage = _damage_of(recipe)
    if damage is None:
        return Recorded(str(run), read_tree(recipe, overrides), _made(run, step))
    newest, state = next(_states(run), (None, {}))
    if newest is None:
        raise (
            RunError(f"{recipe}: {damage}; there is no checkpoint to take it from") if recipe.exists() else no_run(run)
        )
    warnings.warn(f"{recipe}: {damage}; the recipe is taken from {newest}", stacklevel=1)  # once, whoever asks
    return Recorded(str(run), read_tree(state["recipe"], overrides), _made(run, step))


def _damage_of(recipe: Path) -> str | None:
    """Why a file is not what zoo wrote, as far as can be told without looking at values; None if there is nothing."""
    if not recipe.exists():
        return "is gone"
    try:
        tree = read_yaml(recipe).plain()
    except RecipeError as error:
        return f"is damaged: {str(error).split(': ', 1)[1]}"
    missing = [section for section in SECTIONS if not isinstance(tree, dict) or section not in tree]
    return f"is damaged: lacks {', '.join(missing)}" if missing else None


def _states(run: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The states of a run's checkpoints that are as they were written and hold a recipe: their names, newest first."""
    for path, state in newest_states(run / "checkpoints"):
        if isinstance(state.get("recipe"), Mapping):
            yield path.name, state


def _made(run: Path, step: int | None) -> Made | None:
    """What the newest checkpoint was made with, or that of a step; of a run without one, what it was started with."""
    for name, state in _states(run):
        if step in (None, state.get("step")):
            with suppress(ValueError, LookupError):
                return Made(str(run / "checkpoints" / name), str(run), Versions.read(state["versions"]))
    with suppress(OSError, ValueError, TypeError, LookupError):
        return Made(str(run), str(run), Versions.read(read_json(run / "run.json")[-1]["versions"]))
    return None
