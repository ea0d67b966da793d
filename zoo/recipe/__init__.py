"""Recipes: YAML in, validated and frozen values out. Importing this package does not import torch."""

from zoo.recipe.draft import Draft
from zoo.recipe.dump import to_yaml
from zoo.recipe.find import RecipeSummary, find_recipe, list_recipes
from zoo.recipe.fingerprint import all_differences, changes, differences, fingerprint, rules
from zoo.recipe.load import draft_recipe, part_given
from zoo.recipe.of_run import holds_run, no_run, recorded_in, run_of
from zoo.recipe.parts import NestedError, PartSpec
from zoo.recipe.places import absolute
from zoo.recipe.recorded import Recorded
from zoo.recipe.schema import SECTIONS, BackboneRecipe, Recipe
from zoo.recipe.source import Node
from zoo.recipe.tree import Overrides, overridden, read_tree
from zoo.recipe.versions import Made, Versions

__all__ = [
    "SECTIONS",
    "BackboneRecipe",
    "Draft",
    "Made",
    "NestedError",
    "Node",
    "Overrides",
    "PartSpec",
    "Recipe",
    "RecipeSummary",
    "Recorded",
    "Versions",
    "absolute",
    "all_differences",
    "changes",
    "differences",
    "draft_recipe",
    "find_recipe",
    "fingerprint",
    "holds_run",
    "list_recipes",
    "no_run",
    "overridden",
    "part_given",
    "read_tree",
    "recorded_in",
    "rules",
    "run_of",
    "to_yaml",
]
