"""The recipe of what Python has in hand: a recipe in some form, or a backbone that was built from one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from zoo.assembly.loading import load_recipe
from zoo.backbone import Backbone
from zoo.loose_parts import PartsLike, each_of
from zoo.recipe import Overrides, Recipe
from zoo.registry import Registry

RecipeLike = Recipe | nn.Module | str | Path | Mapping[str, Any]
"""A validated recipe, a backbone, or the path, name or plain values of a recipe."""

_VALIDATED = "a recipe that is validated already", "zoo.load_recipe"
_BUILT = "a backbone", "zoo.build or zoo.load"
"""What has its own overrides and parts, and what took them."""


def as_recipe(
    given: RecipeLike,
    overrides: Overrides = (),
    registry: Registry | None = None,
    parts: PartsLike = (),
) -> Recipe:
    """The validated recipe that is given, or a backbone's, or the one that ``load_recipe`` makes of anything else.

    Raises:
        RecipeError: it cannot be read or built.
        PluginError: a class of ``parts`` that breaks the rules of its kind, or two parts of one name.
        ValueError: overrides or parts beside a validated recipe, which has its own, or a backbone that knows none.
    """
    if not isinstance(given, Recipe | nn.Module):
        return load_recipe(given, overrides, registry, parts=parts)
    for name, more in {"overrides": list(overrides), "parts": each_of(parts)}.items():
        if more:
            it, where = _VALIDATED if isinstance(given, Recipe) else _BUILT
            raise ValueError(f"{name}: {it} has its own; give them where it is made: {where}")
    return given if isinstance(given, Recipe) else recipe_of(backbone_in(given))


def backbone_in(module: nn.Module) -> Backbone:
    """The backbone itself, without what PyTorch puts around it: DDP, ``torch.compile``, ``AveragedModel``.

    Raises:
        ValueError: it is another module.
    """
    inner: Any = module
    while not isinstance(inner, Backbone):
        inner = getattr(inner, "_orig_mod", getattr(inner, "module", None))
        if not isinstance(inner, nn.Module):
            name = f"{type(module).__module__}.{type(module).__qualname__}"
            raise ValueError(
                f"{name} is no backbone of zoo's; give what zoo.build or zoo.load returned (DDP, torch.compile and"
                " AveragedModel around it may stay)"
            )
    return inner


def recipe_of(backbone: Backbone) -> Recipe:
    """The recipe that it was built from.

    Raises:
        ValueError: it was put together by hand.
    """
    if backbone.recipe is None:
        raise ValueError("this backbone was put together by hand and knows no recipe; zoo.build makes one that does")
    return backbone.recipe
