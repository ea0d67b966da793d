"""From what a recipe says to a validated recipe, with every problem."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.assembly.probe import probe
from zoo.errors import PluginError
from zoo.recipe import SECTIONS, Draft, Node, Overrides, Recipe, Recorded, draft_recipe, read_tree
from zoo.registry import Registry


def load_recipe(
    source: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    registry: Registry | None = None,
    *,
    parts: Iterable[type[Any]] = (),
) -> Recipe:
    """Read and check a recipe; all of its problems are told at once, and nothing is allocated.

    Args:
        source: a path, a name that ``zoo recipes`` lists, or a recipe as plain values.
        overrides: values by key path, ``{"backbone.dim": 192}``, or ``key.path=value`` as for ``--set``.
        registry: the parts to choose from; all installed ones if left out.
        parts: more of them: classes marked by ``@zoo.part`` that are in no package.

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


def check_recorded(recorded: Recorded, registry: Registry, needs: Collection[str] = tuple(SECTIONS)) -> Recipe:
    """Check a recipe that zoo wrote.

    Args:
        recorded: of a run, a checkpoint or a weight file.
        registry: the parts to choose from.
        needs: the sections whose parts are needed; those of others are kept as they are written, where they are not
            installed.

    Raises:
        PluginError: a part that is needed is of a plug-in that is not here; the message says what to install.
        RecipeError: it cannot be built; the message has a line for every problem.
    """
    draft = draft_recipe(recorded.tree, registry, recorded, needs)
    source = recorded.tree.origin.source
    written = [part for path, part in draft.missing if recorded.tree.origin_of(path).source == source]
    if written and recorded.absent(registry):
        raise PluginError(recorded.refusal(written, registry))
    return _checked(draft)


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
