"""What commands that take a run, or a weight file in its place, have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from zoo.classes import Classes, classes_of_run
from zoo.errors import ZooError
from zoo.recipe import Recorded, recorded_in


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
    return recorded_in(run, overrides, step)


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
