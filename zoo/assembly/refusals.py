"""What is said where a part refuses its options, or fails at them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from pydantic import ValidationError

from zoo.errors import KeyPath, OptionError, PluginError, RecipeError, dotted, in_words, line_in, shortened, text_of
from zoo.part_entries import PartEntry
from zoo.recipe import NestedError, Recipe
from zoo.recipe.messages import Problem, in_one_line

NOWHERE: Mapping[str, Collection[KeyPath]] = MappingProxyType({})


def refused(recipe: Recipe, path: KeyPath, entry: PartEntry, error: ValueError) -> RecipeError:
    """What a part of a validated recipe raises when it is constructed, at the key that it stands at."""
    told = refusals(path, entry, error)
    return RecipeError([f"{recipe.name}: {dotted(problem.path)}: {problem.message}" for problem in told])


def refusals(
    path: KeyPath, entry: PartEntry, error: Exception, written: Mapping[str, Collection[KeyPath]] = NOWHERE
) -> list[Problem]:
    """What to say of a part's error; a fault of zoo's own is raised as it is.

    Args:
        path: where the part stands.
        entry: the part.
        error: what its constructor, or a method that is called with it, raised.
        written: the keys that say what it was supplied with, by name. The problem is about those that it asks for and
            speaks of.
    """
    if isinstance(error, NestedError):
        return refusals((*path, error.option), error.entry, error.error, written)
    asked = [key for name in entry.signature.supplied for key in written.get(name, ())]
    return [
        Problem(where, text, [key for key in asked if re.search(rf"\b{key[-1]}\b", text)])
        for where, text in _told(path, entry, error)
    ]


def _told(path: KeyPath, entry: PartEntry, error: Exception) -> list[tuple[KeyPath, str]]:
    plugin = f"{entry.name}, of {entry.plugin.words}"
    if isinstance(error, OptionError):
        return [((*path, *below), text) for below, text in error.problems]
    if isinstance(error, PluginError):
        return [(path, f"{plugin}: {error}")]
    if isinstance(error, ValueError):
        text = in_one_line(error) if isinstance(error, ValidationError) else text_of(error)
        return [(path, f"{entry.name}: {shortened(text) or 'refuses this by an error without words'}")]
    if "overflow" in text_of(error).lower():
        return [(path, f"{entry.name}: has more numbers than any machine holds; take smaller ones in the recipe")]
    if entry.plugin.name == "zoo":
        raise error
    return [(path, f"{plugin}, failed: {in_words(error)}{line_in(error, entry.cls)}")]
