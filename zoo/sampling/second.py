"""The other weights that guidance asks for."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from zoo.assembly import build, create_part
from zoo.data import Normalize
from zoo.distributed.distributed import Distributed
from zoo.errors import WeightsError, ZooError
from zoo.flow import Guidance
from zoo.flow.second import check_second
from zoo.recipe import Recipe, all_differences, no_run
from zoo.registry import Registry
from zoo.runs.shared_weights import read_by_one
from zoo.runs.weights import WeightsSource, find_weights
from zoo.weights import Weights

PROBED = (-1.0, 0.0, 1.0)
"""Values of latents by which two normalisations are compared."""

ALIKE = 1e-3
"""How far apart, of the largest value, two may be: statistics of the same latents may have been taken twice."""


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
        raise WeightsError(f"{recipe.name}: sample.guidance.weights: {no_run(path, or_file=True)}; name another")
    found = find_weights(path)
    for problem in found.passed_over():
        warnings.warn(problem, stacklevel=2)
    return found


def read_second(found: WeightsSource | None, recipe: Recipe, registry: Registry) -> Weights | None:
    """The other weights, with a recipe of their own; None if there are none.

    Args:
        found: where they are.
        recipe: of what is drawn, with what is recorded with its data.
        registry: the parts to choose from.

    Raises:
        WeightsError: they cannot be read, or are of other latents or labels than the recipe's, normalised otherwise, or
            of another path.
    """
    if found is None:
        return None
    weights = found.read(registry)
    _refuse_other(weights, recipe, found.where)
    return weights


def read_second_by_one(
    found: WeightsSource | None, recipe: Recipe, registry: Registry, world: Distributed
) -> Weights | None:
    """The same where one process of a job reads them for all, as ``read_by_one`` does; all processes call it."""
    if found is None:
        return None
    weights = read_by_one(found, registry, world)
    with world.together():
        _refuse_other(weights, recipe, found.where)
    return weights


def _refuse_other(weights: Weights, recipe: Recipe, where: str) -> None:
    try:
        check_second(build(recipe, device="meta"), build(weights.recipe, device="meta"))
        _refuse_other_normalize(recipe, weights.recipe)
    except ValueError as error:
        raise WeightsError(f"{recipe.name}: sample.guidance.weights: {where}: {error}") from error


def _refuse_other_normalize(recipe: Recipe, second: Recipe) -> None:
    """Refuse weights that have learned the same latents at another scale, which no velocity shows.

    What is written otherwise may do the same. Where what it does is not known here, such as of statistics that nobody
    has taken up, or of a part that is not installed, nothing is refused.

    Raises:
        ValueError: it does something else.
    """
    own, other = _normalised(recipe), _normalised(second)
    if own is None or other is None or float((own - other).abs().max()) <= ALIKE * float(own.abs().max()):
        return
    plain = ({"data": {"normalize": each.data.resolved()["normalize"]}} for each in (recipe, second))
    told = "; ".join(all_differences(*plain))
    raise ValueError(
        f"it has learned latents that are normalised otherwise (what is drawn first): {told}; take weights of the same"
    )


def _normalised(recipe: Recipe) -> Tensor | None:
    """What a recipe makes of some latents; None where that is not known."""
    latent = recipe.backbone.latent
    try:
        normalize: Normalize = create_part(recipe, "normalize")
        return torch.stack(
            [normalize.apply(torch.full((1, latent.channels, *latent.size), each)).double() for each in PROBED]
        )
    except ZooError:
        return None
