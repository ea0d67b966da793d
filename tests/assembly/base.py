"""A small recipe, and what is wrong with others."""

from types import SimpleNamespace

import zoo
from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.plugins import Plugin
from zoo.registry import Registry

UNIFORM = "{type: uniform, patch: 2}"
BASE = f"""\
backbone:
  latent: {{channels: 4, height: 8, width: 12}}
  num_classes: 10
  dim: 32
  depth: 2
  heads: 2
  patch_schedule: {UNIFORM}
"""


def problems_of(source, registry, overrides=()) -> list[str]:
    """What is wrong with a recipe; nothing but a ``RecipeError`` is ever raised."""
    try:
        load_recipe(source, overrides, registry)
    except RecipeError as error:
        return list(error.problems)
    return []


def registry_with(*parts) -> Registry:
    """The built-in parts, and those of a plug-in."""
    registry = Registry()
    registry.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: list(parts))), Plugin("zoo-extra", "1"))
    return registry
