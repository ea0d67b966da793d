"""What is said where a part refuses its options, or fails at them."""

from __future__ import annotations

from pydantic import ValidationError

from zoo.errors import KeyPath, OptionError, PluginError, RecipeError, dotted
from zoo.kinds import path_of
from zoo.recipe import NestedError, Recipe
from zoo.recipe.messages import in_one_line
from zoo.registry import PartEntry


def refused(recipe: Recipe, kind: str, entry: PartEntry, error: ValueError, index: int | None = None) -> RecipeError:
    """What a part of a validated recipe raises when it is constructed, at the key that it stands at."""
    return RecipeError([f"{recipe.name}: {dotted(path)}: {text}" for path, text in refusals(kind, entry, error, index)])


def refusals(kind: str, entry: PartEntry, error: Exception, index: int | None = None) -> list[tuple[KeyPath, str]]:
    """What to say of a part's error, by key path; a fault of zoo's own is raised as it is.

    Args:
        kind: of the part.
        entry: the part.
        error: what its constructor, or a method that is called with it, raised.
        index: of the part, where a recipe holds several of the kind.
    """
    return _refusals((*path_of(kind), *(() if index is None else (index,))), entry, error)


def _refusals(path: KeyPath, entry: PartEntry, error: Exception) -> list[tuple[KeyPath, str]]:
    if isinstance(error, NestedError):
        return _refusals((*path, error.option), error.entry, error.error)
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
