"""From a validated recipe to its backbone, and to the parts beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from zoo.assembly.given import as_recipe
from zoo.assembly.refusals import refused
from zoo.assembly.supply import create_whole, supply
from zoo.backbone import Backbone
from zoo.devices import cast_weights, check_dtype, usable_device
from zoo.errors import PluginError
from zoo.kinds import path_of
from zoo.parts.base import PatchSchedule
from zoo.parts.layers import Linear
from zoo.recipe import Overrides, Recipe
from zoo.registry import Registry
from zoo.schedule import Stage, transitions_of


def build(
    recipe: Recipe | str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    *,
    registry: Registry | None = None,
    parts: Iterable[type[Any]] = (),
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Backbone:
    """Build a backbone with freshly initialised weights.

    Args:
        recipe: a validated recipe, or the path, name or plain values of one.
        overrides: values by key path, ``{"backbone.dim": 192}``, or ``key.path=value`` as for ``--set``.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them: classes marked by ``@zoo.part`` that are in no package.
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
    with usable_device(device):
        backbone = _assemble(recipe)
    return backbone if dtype is None else cast_weights(backbone, dtype)


def create_parts(recipe: Recipe, kind: str) -> list[Any]:
    """The recipe's parts of a kind of which it holds several: ``metric``.

    Raises:
        RecipeError: one refuses its options.
        PluginError: one is of a plug-in that is not here; the message says what to install.
    """
    section, key = path_of(kind)
    specs = getattr(getattr(recipe, section), key)

    def create(index: int, spec: Any) -> Any:
        try:
            return spec.create({})
        except PluginError:
            raise
        except ValueError as error:
            raise refused(recipe, (section, key, index), spec.entry, error) from error

    return [create(index, spec) for index, spec in enumerate(specs)]


def create_part(recipe: Recipe, kind: str) -> Any:
    """The recipe's part of a kind that stands beside the backbone: ``dataset``, ``solver`` and the like.

    Raises:
        RecipeError: the part refuses its options.
        PluginError: the part is of a plug-in that is not here; the message says what to install.
    """
    section, key = path_of(kind)
    spec = getattr(getattr(recipe, section), key)
    values = {"latent": recipe.backbone.latent, "num_classes": recipe.backbone.num_classes}
    try:
        return spec.create(supply(kind, values, ())[None])
    except PluginError:
        raise
    except ValueError as error:
        raise refused(recipe, (section, key), spec.entry, error) from error


def _assemble(recipe: Recipe) -> Backbone:
    options = recipe.backbone
    values = {name: getattr(options, name) for name in type(options).model_fields}

    def create(kind: str, stages: tuple[Stage, ...] = ()) -> dict[Any, Any]:
        spec = getattr(options, kind)
        try:
            return {key: create_whole(spec, given) for key, given in supply(kind, values, stages).items()}
        except ValueError as error:
            raise refused(recipe, path_of(kind), spec.entry, error) from error

    def create_blocks() -> Iterator[Any]:
        supplied = iter(supply("block", values, ()).values())
        for place, run in enumerate(options.block):
            spec: Any = run.part
            for given in islice(supplied, run.blocks):
                try:
                    yield create_whole(spec, given)
                except ValueError as error:
                    path = (*path_of("block"), *((place,) if len(options.block) > 1 else ()))
                    raise refused(recipe, path, spec.entry, error) from error

    schedule: PatchSchedule = create("patch_schedule")[None]
    stages = schedule.stages()
    height, width = options.latent.size
    with_skip = options.skip == "linear"
    return Backbone(
        latent=(options.latent.channels, height, width),
        dim=options.dim,
        stages=stages,
        ties=schedule.ties,
        patch_embedders=create("patch_embedder", stages),
        positions=create("position", stages),
        time_embedder=create("time_embedder")[None],
        class_conditioner=create("class_conditioner")[None],
        stage_embedder=create("stage_embedder", stages)[None],
        modulation=create("modulation")[None],
        blocks=create_blocks(),
        upsamplers=create("upsampler", stages),
        skips={pair: Linear(options.dim, options.dim) for pair in transitions_of(stages)} if with_skip else {},
        heads=create("head", stages),
        prediction=options.prediction,
        recipe=recipe,
    )
