"""Paths in recipes: relative to the file that says them, where that is the user's own.

What a recipe of a package says, or ``--set``, or Python, is relative to the working folder: that is where the user's
data is, and not in the package.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from zoo.recipe.find import recipe_folders
from zoo.recipe.parts import Listed, PartSpec
from zoo.recipe.schema import Recipe
from zoo.signature import places_of

M = TypeVar("M", bound=BaseModel)


def located(options: M, written_in: Callable[[str], Path | None]) -> M:
    """Options with those paths made absolute that are relative to a file.

    Args:
        options: of a part, or of a section of a recipe.
        written_in: the recipe file that an option was written in, by the option's name; None where it was in none.
    """
    return _with_places(options, lambda name: _folder_of(written_in(name)))


def absolute(recipe: Recipe) -> Recipe:
    """A recipe that means the same in every working folder: all paths in it are absolute."""
    here = Path.cwd()
    sections: dict[str, Any] = {}
    for section in recipe.sections():
        own = _with_places(section, lambda name: here)
        parts = {name: _absolute_part(getattr(own, name), here) for name in type(own).model_fields}
        sections[section.section] = own.model_copy(update=parts)
    return recipe.model_copy(update=sections)


def _absolute_part(value: Any, here: Path) -> Any:
    if isinstance(value, tuple):
        return tuple(_absolute_part(each, here) for each in value)
    if isinstance(value, Listed):
        return value.model_copy(update={"part": _absolute_part(value.part, here)})
    if not isinstance(value, PartSpec):
        return value
    parts = {name: _absolute_part(spec, here) for name, spec in value.parts.items()}
    return value.model_copy(update={"options": _with_places(value.options, lambda name: here), "parts": parts})


def _with_places(options: M, folder_of: Callable[[str], Path | None]) -> M:
    found: dict[str, Any] = {}
    for name, place in places_of(type(options)).items():
        value = getattr(options, name)
        if isinstance(value, BaseModel):  # what is written as a mapping is in one file as a whole
            below = _with_places(value, _all_in(folder_of(name)))
            found |= {} if below is value else {name: below}
        if isinstance(value, str) and not value.startswith("~") and not os.path.isabs(value):
            folder = folder_of(name)
            if folder is None:
                continue
            is_path = value not in place.names and (not place.or_name or os.path.lexists(folder / value))
            if is_path:
                found[name] = os.path.normpath(folder / value)
    return options.model_copy(update=found) if found else options


def _all_in(folder: Path | None) -> Callable[[str], Path | None]:
    return lambda name: folder


def _folder_of(file: Path | None) -> Path | None:
    """What paths in a recipe file are relative to; None for the working folder."""
    if file is None:
        return None
    path = Path(os.path.abspath(file))
    folders, _ = recipe_folders()
    shipped = any(each.plugin and path.resolve().is_relative_to(each.path.resolve()) for each in folders)
    return None if shipped else path.parent
