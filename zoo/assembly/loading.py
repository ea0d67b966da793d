"""From what a recipe says to a validated recipe, with every problem."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from zoo.assembly.probe import probe
from zoo.errors import PluginError
from zoo.loose_parts import PartsLike
from zoo.recipe import SECTIONS, Draft, Made, Node, Overrides, Recipe, Recorded, Versions, draft_recipe, read_tree
from zoo.registry import Registry


def load_recipe(
    source: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    registry: Registry | None = None,
    *,
    parts: PartsLike = (),
) -> Recipe:
    """Read and check a recipe; all of its problems are told at once, and nothing is allocated.

    Args:
        source: a path, a name that ``zoo recipes`` lists, or a recipe as plain values.
        overrides: values by key path, ``{"backbone.dim": 192}``, or ``key.path=value`` as for ``--set``.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them, in no package: classes marked by ``@zoo.part``, or paths of Python files with such.

    Raises:
        RecipeError: it cannot be read or built.
        PluginError: a class of ``parts`` that breaks the rules of its kind, or two parts of one name.
    """
    registry = (registry or Registry.installed()).with_parts(parts)
    return check_tree(read_tree(source, overrides, option=None), registry)


def check_tree(tree: Node, registry: Registry) -> Recipe:
    """Check a recipe that has been read.

    Raises:
        RecipeError: it cannot be built; the message has a line for every problem.
    """
    return _checked(draft_recipe(tree, registry))


OtherParts = Literal["refused", "told"]
"""What becomes of parts that compute something else by now than with the weights of a run, as their versions say, or
that have come from a file into a package."""

TRAINED = ("backbone", "objective", "data")
"""The sections whose parts weights come of; those of others may be chosen anew for every use."""


def check_recorded(
    recorded: Recorded,
    registry: Registry,
    needs: Collection[str] = tuple(SECTIONS),
    *,
    other_parts: OtherParts = "refused",
) -> Recipe:
    """Check a recipe that zoo wrote.

    Args:
        recorded: of a run, a checkpoint or a weight file.
        registry: the parts to choose from.
        needs: the sections whose parts are needed; those of others are kept as they are written, where they are not
            installed.
        other_parts: of those that are needed; told where a run is only looked at, or weights are but a start.

    Raises:
        PluginError: a part that is needed is of a plug-in that is not here, or of another package or version of itself
            than was recorded; the message says what to install.
        RecipeError: it cannot be built; the message has a line for every problem.
    """
    draft = draft_recipe(recorded.tree, registry, recorded, needs)
    source = recorded.tree.origin.source
    written = [part for path, part in draft.missing if recorded.tree.origin_of(path).source == source]
    if written and recorded.absent(registry):
        raise PluginError(recorded.refusal(written, registry))
    recipe = _checked(draft)
    if recorded.made is not None and needs:
        check_versions(recorded.made, recipe, needs, other_parts=other_parts)
    return recipe


def check_versions(made: Made, recipe: Recipe, needs: Collection[str], *, other_parts: OtherParts = "refused") -> None:
    """Warn where a recipe's parts, or PyTorch, are of other versions than weights were made with.

    Args:
        made: what they were made with.
        recipe: theirs, as it is here.
        needs: the sections whose parts are used.
        other_parts: see ``check_recorded``.

    Raises:
        PluginError: a part that may not change here is of another package than what was recorded, or, if weights come
            of it, of another version of itself.
    """
    here = recipe.versions(needs)
    made.refuse_other_origins(_fixed(recipe, needs), packaged=other_parts == "told")
    if other_parts == "refused":
        made.refuse_other_parts(recipe.versions([section for section in TRAINED if section in needs]))
    other = made.otherwise(here)
    if other is not None:
        warnings.warn(other, stacklevel=1)  # once, whoever asks


def _fixed(recipe: Recipe, needs: Collection[str]) -> Versions:
    """The parts that must be of the packages that they were of: those that weights come of and, where nothing trains,
    those that draw. Callbacks, and what judges, may be others'."""
    trains = "train" in needs
    found = recipe.versions([each for each in needs if each in TRAINED or each == ("train" if trains else "sample")])
    return Versions(packages=found.packages, parts=tuple(each for each in found.parts if each.kind != "callback"))


def change_section(recipe: Recipe, section: str, values: Mapping[str, Any], registry: Registry) -> Recipe:
    """A validated recipe with other values, by key path, in one section; the others stay as they are.

    Raises:
        RecipeError: the section cannot be built so.
    """
    needed = {name: getattr(recipe, name).resolved() for name in ("backbone", section)}
    overrides = {f"{section}.{key}": value for key, value in values.items()}
    changed = load_recipe({"name": recipe.name, **needed}, overrides, registry)
    return recipe.model_copy(update={section: getattr(changed, section)})


def _checked(draft: Draft) -> Recipe:
    probe(draft)
    return draft.recipe()
