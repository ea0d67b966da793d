"""From a recipe file to the tree of what it says, with what it extends and with overrides applied; not yet checked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import RecipeError
from zoo.recipe.find import find_recipe
from zoo.recipe.merge import merge, override, override_origin, override_value
from zoo.recipe.source import Node, Origin, node_of, read_yaml, show

Overrides = str | Iterable[str] | Mapping[str, Any]
"""``key.path=value``, or values by key path: ``{"backbone.dim": 192}``."""


def read_tree(
    source: str | Path | Mapping[str, Any], overrides: Overrides = (), *, option: str | None = "--set"
) -> Node:
    """A recipe with what it extends and with overrides applied; not yet checked.

    Args:
        source: a file's path or name, or a recipe as plain values.
        overrides: ``key.path=value``, or values by key path.
        option: of the shell, from which the overrides are; None: from Python. Messages name it.

    Raises:
        RecipeError: a file that is missing or not plain YAML, a loop of ``extends``, an override of no such form, or
            one of which a later one leaves nothing.
    """
    if isinstance(source, Mapping):
        name, tree = "recipe", _extended(node_of(source, Origin("recipe")), None)
    elif not isinstance(source, str | Path):
        raise RecipeError([f"a recipe is a name, a path or a mapping with `backbone`, not {type(source).__name__}"])
    else:
        path = find_recipe(str(source))
        name, tree = path.stem, _extended(read_yaml(path, piped=True), path)
    problems: list[str] = []
    if isinstance(overrides, str):
        overrides = [overrides]
    applied: dict[Origin, tuple[str, ...]] = {}
    for each in overrides:
        before = tree
        try:
            if isinstance(overrides, Mapping):
                tree = override_value(tree, each, overrides[each])
            else:
                tree = override(tree, each, option)
        except RecipeError as error:
            problems.extend(error.problems)
            continue
        origin, keys = override_origin(each, None if isinstance(overrides, Mapping) else option)
        problems.extend(_lost(applied, set(before.origins()) - set(tree.origins()), origin, keys))
        applied[origin] = keys
    if problems:
        raise RecipeError(problems)
    assert isinstance(tree.value, dict)
    if "name" not in tree.value or tree.value["name"].value is None:
        tree = Node({**tree.value, "name": Node(name, tree.origin)}, tree.origin)
    return tree


def _lost(
    applied: Mapping[Origin, tuple[str, ...]], gone: Collection[Origin], origin: Origin, keys: tuple[str, ...]
) -> list[str]:
    """A line for each override below ``keys`` of which the one from ``origin`` leaves nothing."""
    return [
        f"{earlier}: would be lost, since {origin} comes after it and replaces {'.'.join(keys)} whole;"
        " write it after that"
        for earlier, below in applied.items()
        if earlier in gone and len(below) > len(keys) and below[: len(keys)] == keys
    ]


def _extended(tree: Node, path: Path | None) -> Node:
    """``tree``, which stands at ``path``, on top of what it extends."""
    trees, files = [tree], [path.resolve()] if path else []
    while (extends := _extends(trees[-1])) is not None:
        try:
            path = find_recipe(str(extends.value), beside=path)
        except RecipeError as error:
            raise RecipeError([f"{extends.origin}: extends: {error}"]) from error
        if path.resolve() in files:
            circle = [*files[files.index(path.resolve()) :], path]
            names = " -> ".join(file.name for file in circle)
            raise RecipeError([f"{extends.origin}: extends: goes in a circle: {names}; take one of them out"])
        files.append(path.resolve())
        trees.append(read_yaml(path))
    merged = Node({}, trees[-1].origin)
    for each in reversed(trees):
        # A name belongs to its own file: a recipe that extends another is not that one.
        merged = merge(_without(merged, "name"), _without(each, "extends"))
    return merged


def _extends(tree: Node) -> Node | None:
    """The name of the recipe that ``tree`` extends, if any."""
    if tree.value is None:
        raise RecipeError([f"{tree.origin}: empty; a recipe needs at least `backbone:` or `extends:`"])
    if not isinstance(tree.value, dict):
        raise RecipeError([f"{tree.origin}: a recipe is a mapping with `backbone:`, not {show(tree.plain())}"])
    extends = tree.value.get("extends")
    if extends is not None and not isinstance(extends.value, str):
        given = show(extends.plain())
        raise RecipeError([f"{extends.origin}: extends: should be the path or name of one recipe, got {given}"])
    return extends


def _without(tree: Node, key: str) -> Node:
    assert isinstance(tree.value, dict)
    return Node({each: node for each, node in tree.value.items() if each != key}, tree.origin)
