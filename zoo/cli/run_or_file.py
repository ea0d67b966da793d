"""What commands that take a run, or a weight file in its place, have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from zoo.best import best_step
from zoo.classes import Classes, classes_of_run
from zoo.errors import ZooError
from zoo.recipe import Recorded, holds_run, no_run, recorded_in


def read_recipe_of(run: Path, overrides: Iterable[str], step: int | None = None) -> Recorded:
    """The recipe of a run's folder or of a weight file, overridden; not yet checked.

    Args:
        run: the folder or file.
        overrides: of the recipe.
        step: of a run, the checkpoint that tells what it was made with; the newest if left out.

    Raises:
        ZooError: there is neither.
        WeightsError: the file holds no recipe.
        RecipeError: an override of no such form.
    """
    if run.is_file():
        from zoo.weights import recorded_recipe

        return recorded_recipe(run, overrides)
    if not holds_run(run):
        raise no_run(run, or_file=True)
    return recorded_in(run, overrides, step)


def step_of(run: Path, step: str | None) -> int | None:
    """The step that ``--step`` asks for: a number, or that of the run's best checkpoint; None where it is left out.

    Raises:
        ZooError: it is neither, or no checkpoint has been kept as the best one; or a file has no steps.
    """
    if step is None:
        return None
    if not (step.isdecimal() and int(step)) and step != "best":
        raise ZooError(f"--step {step}: write the number of a step, or best")
    if run.is_file():
        raise ZooError(f"{run}: a weight file holds one set of weights; only of a run can --step be taken")
    if not holds_run(run):
        raise no_run(run, or_file=True)
    return best_step(run) if step == "best" else int(step)


def classes_of(run: Path) -> Classes:
    """The classes that a run or a weight file was trained on, as far as it names them."""
    if run.is_file():
        from zoo.weights import recorded_classes

        return recorded_classes(run)
    return classes_of_run(run)


def check_overrides(overrides: Iterable[str], sections: Sequence[str]) -> None:
    """Refuse a ``--set`` of what training has decided.

    Raises:
        ZooError: it is in none of these sections.
    """
    for each in overrides:
        if re.split(r"[.=]", each)[0].strip() not in sections:
            names = [f"`{section}`" for section in sections]
            allowed = f"{', '.join(names[:-1])} and {names[-1]}"
            raise ZooError(f"--set {each}: only {allowed} may be other than in training")
