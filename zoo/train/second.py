"""The other weights that guidance asks for."""

from __future__ import annotations

import warnings
from pathlib import Path

from zoo.assembly import build, create_part
from zoo.errors import WeightsError, ZooError
from zoo.flow import Guidance
from zoo.flow.second import check_second
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.train.weights import WeightsSource, find_weights
from zoo.weights import Weights


def find_second(recipe: Recipe) -> WeightsSource | None:
    """Where a recipe's guidance says that its other weights are; None if it needs none.

    Raises:
        ZooError: it says it not, or the folder holds no run.
        WeightsError: there is no such file or folder.
        RunError: the run has no sound checkpoint.
    """
    guidance: Guidance = create_part(recipe, "guidance")
    if guidance.is_none or guidance.second != "weights":
        return None
    if guidance.weights is None:
        raise ZooError(f"{recipe.name}: sample.guidance.weights: missing; name a weight file of zoo's, or a run")
    path = Path(guidance.weights).expanduser()
    if not path.exists():
        raise WeightsError(f"{recipe.name}: sample.guidance.weights: {path}: there is no such weight file or run")
    found = find_weights(path)
    for problem in found.passed_over():
        warnings.warn(problem, stacklevel=2)
    return found


def read_second(found: WeightsSource | None, recipe: Recipe, registry: Registry) -> Weights | None:
    """The other weights, with a recipe of their own; None if there are none.

    Raises:
        WeightsError: they cannot be read, or are of other latents or labels than the recipe's, or of another path.
    """
    if found is None:
        return None
    weights = found.read(registry)
    try:
        check_second(build(recipe, device="meta"), build(weights.recipe, device="meta"))
    except ValueError as error:
        raise WeightsError(f"{recipe.name}: sample.guidance.weights: {found.where}: {error}") from error
    return weights
