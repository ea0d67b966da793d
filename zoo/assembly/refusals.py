"""What is said where a part refuses its options, or fails at them."""

from __future__ import annotations

from pydantic import ValidationError

from zoo.errors import KeyPath, OptionError, PluginError, RecipeError, dotted
from zoo.recipe import NestedError, Recipe
from zoo.recipe.messages import in_one_line
from zoo.registry import PartEntry


def refused(recipe: Recipe, path: KeyPath, entry: PartEntry, error: ValueError) -> RecipeError:
    """What a part of a validated recipe raises when it is constructed, at the key that it stands at."""
    return RecipeError([f"{recipe.name}: {dotted(path)}: {text}" for path, text in refusals(path, entry, error)])


def refusals(path: KeyPath, entry: PartEntry, error: Exception) -> list[tuple[KeyPath, str]]:
    """What to say of a part's error, by key path; a fault of zoo's own is raised as it is.

    Args:
        path: where the part stands.
        entry: the part.
        error: what its constructor, or a method that is called with it, raised.
    """
    if isinstance(error, NestedError):
        return refusals((*path, error.option), error.entry, error.error)
    plugin = f"{entry.name}, of {entry.plugin.words}"
    if isinstance(error, OptionError):
        return [((*path, *below), text) for below, text in error.problems]
    if isinstance(error, PluginError):
        return [(path, f"{plugin}: {error}")]
    if isinstance(error, ValueError):
        return [(path, f"{entry.name}: {in_one_line(error) if isinstance(error, ValidationError) else error}")]
    if "overflow" in str(error).lower():
        return [(path, f"{entry.name}: has more numbers than any machine holds; take smaller ones in the recipe")]
    if entry.plugin.name == "zoo":
        raise error
    return [(path, f"{plugin}, failed: {type(error).__name__}: {error}")]
