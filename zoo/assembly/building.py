"""From a validated recipe to its backbone, and to the parts beside it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from zoo.assembly.given import as_recipe
from zoo.assembly.refusals import refusals, refused
from zoo.assembly.supply import OF_SHAPE, create_whole, shape_of, supplied_at, supplied_beside
from zoo.backbone import Backbone
from zoo.data import Dataset
from zoo.devices import cast_weights, check_dtype, meta_device, usable_device
from zoo.errors import KeyPath, PluginError, RecipeError, dotted
from zoo.kinds import HELD_KINDS, KINDS, in_order_of_building, path_of
from zoo.loose_parts import PartsLike
from zoo.parts.base import PatchSchedule
from zoo.recipe import Overrides, PartSpec, Recipe
from zoo.recipe.schema import BackboneRecipe
from zoo.registry import Registry
from zoo.shape import Shape
from zoo.sites import Built, Key


def build(
    recipe: Recipe | str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    *,
    registry: Registry | None = None,
    parts: PartsLike = (),
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Backbone:
    """Build a backbone with freshly initialised weights.

    Args:
        recipe: a validated recipe, or the path, name or plain values of one.
        overrides: values by key path, ``{"backbone.dim": 192}``, or ``key.path=value`` as for ``--set``.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them, in no package: classes marked by ``@zoo.part``, or paths of Python files with such.
        device: where to build; ``meta`` allocates nothing. PyTorch's default if left out.
        dtype: of the parameters. PyTorch's default if left out.

    Raises:
        RecipeError: the recipe cannot be read or built.
        PluginError: a class of ``parts`` that breaks the rules of its kind, or two parts of one name.
        ZooError: there is no such device.
        ValueError: overrides or parts beside a validated recipe, which has its own, or what is no dtype.
    """
    check_dtype(dtype)
    recipe = as_recipe(recipe, overrides, registry, parts)
    backbone = _assemble(recipe, usable_device(device))
    return backbone if dtype is None else cast_weights(backbone, dtype)


def dataset(
    recipe: Recipe | str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    *,
    registry: Registry | None = None,
    parts: PartsLike = (),
) -> Dataset:
    """A recipe's dataset by itself: ``zoo.dataset("digits_dit").open().read(indices, generators)`` gives samples.

    Args:
        recipe: a validated recipe, or the path, name or plain values of one.
        overrides: values by key path, as for ``build``.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them, in no package.

    Raises:
        RecipeError: the recipe cannot be read, or its dataset refuses its options.
        PluginError: the dataset is of a plug-in that is not here.
    """
    found: Dataset = create_part(as_recipe(recipe, overrides, registry, parts), "dataset")
    return found


def dataset_of(spec: PartSpec, channels: int, size: tuple[int, ...], num_classes: int) -> Dataset:
    """A dataset of no recipe.

    Args:
        spec: the part with its options.
        channels: of its latents.
        size: of these, each axis.
        num_classes: that labels are below; 0 for any, or none.

    Raises:
        RecipeError: it refuses its options, or such latents.
    """
    supplied = {"channels": channels, "size": size, "num_classes": num_classes}
    try:
        found: Dataset = create_whole(spec, supplied)
    except PluginError:
        raise
    except ValueError as error:
        told = refusals(path_of("dataset"), spec.entry, error)
        raise RecipeError([f"{dotted(problem.path)}: {problem.message}" for problem in told]) from error
    return found


def create_parts(recipe: Recipe, kind: str) -> list[Any]:
    """The recipe's parts of a kind of which it holds several: ``loss``, ``metric``.

    Raises:
        RecipeError: one refuses its options.
        PluginError: one is of a plug-in that is not here; the message says what to install.
    """
    section, _ = path = path_of(kind)
    specs = getattr(recipe, section).of(kind)
    return [_beside(recipe, kind, spec, (*path, index)) for index, spec in enumerate(specs)]


def create_part(recipe: Recipe, kind: str) -> Any:
    """The recipe's part of a kind that stands beside the backbone: ``dataset``, ``solver`` and the like.

    Raises:
        RecipeError: the part refuses its options.
        PluginError: the part is of a plug-in that is not here; the message says what to install.
    """
    section, key = path = path_of(kind)
    return _beside(recipe, kind, getattr(getattr(recipe, section), key), path)


def _beside(recipe: Recipe, kind: str, spec: Any, path: KeyPath) -> Any:
    """A part that stands beside the backbone."""
    options, asks = recipe.backbone, not OF_SHAPE.isdisjoint(KINDS[kind].supplied)
    shape = _shape(options, _schedule(options)) if asks else None
    try:
        return create_whole(spec, supplied_beside(kind, options.latent, options.num_classes, shape))
    except PluginError:
        raise
    except ValueError as error:
        raise refused(recipe, path, spec.entry, error) from error


def _shape(options: BackboneRecipe, schedule: PatchSchedule) -> Shape:
    return shape_of({name: getattr(options, name) for name in type(options).model_fields}, schedule.stages())


def _schedule(options: BackboneRecipe) -> PatchSchedule:
    schedule: PatchSchedule = options.patch_schedule.create({"depth": options.depth, "axes": len(options.latent.size)})
    return schedule


def _assemble(recipe: Recipe, device: torch.device) -> Backbone:
    options = recipe.backbone
    schedule = _schedule(options)
    shape = _shape(options, schedule)

    def create(kind: str, built: Built, *, is_sketched: bool = False) -> dict[Key, Any]:
        made = {}
        for key, given in supplied_at(kind, shape, built):
            spec = options.spec(kind, key)
            try:
                made[key] = create_whole(spec, given, is_sketched=is_sketched)
            except ValueError as error:
                raise refused(recipe, options.path(kind, key), spec.entry, error) from error
        return made

    parts: dict[str, dict[Key, Any]] = {}
    with meta_device():  # where sites are told what they are told of parts
        for kind in in_order_of_building():
            parts[kind] = create(kind, parts)
    if device.type != "meta":
        # Under a device that is named PyTorch asks Python at every operator.
        there = nullcontext() if device == torch.get_default_device() else device
        with there:  # in the order of the state dict, so that the same seed draws the same weights
            parts = {kind: create(kind, parts, is_sketched=True) for kind in HELD_KINDS}
    return Backbone(
        shape, parts, ties=schedule.ties, prediction=options.prediction, path=create_part(recipe, "path"), recipe=recipe
    )
