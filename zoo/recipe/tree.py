"""From a recipe file to the tree of what it says, with what it extends and with overrides applied; not yet checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import RecipeError, printable
from zoo.plugins import not_installed
from zoo.recipe.find import find_recipe
from zoo.recipe.merge import Override, merge, override_of, read_override
from zoo.recipe.options import PACKAGE
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
        name, tree = printable(path.stem), _extended(read_yaml(path, piped=True), path)
    tree = overridden(tree, overrides, option=option)
    assert isinstance(tree.value, dict)
    if "name" not in tree.value or tree.value["name"].value is None:
        tree = Node({**tree.value, "name": Node(name, tree.origin)}, tree.origin)
    return tree


def overridden(tree: Node, overrides: Overrides, *, option: str | None = "--set") -> Node:
    """``tree`` with overrides applied; see ``read_tree``.

    Raises:
        RecipeError: an override of no such form, or one of which a later one of them leaves nothing.
    """
    if isinstance(overrides, str):
        overrides = [overrides]
    problems: list[str] = []
    applied: list[Override] = []
    for each in overrides:
        try:
            one = override_of(each, overrides[each]) if isinstance(overrides, Mapping) else read_override(each, option)
            after = one.on(tree)
        except RecipeError as error:
            problems.extend(error.problems)
            continue
        gone = set(tree.nearest(one.replaces).origins()) - set(after.nearest(one.replaces).origins())
        problems.extend(_lost(one, [earlier for earlier in applied if earlier.value.origin in gone]))
        applied.append(one)
        tree = after
    if problems:
        raise RecipeError(problems)
    return tree


def _lost(last: Override, gone: Iterable[Override]) -> list[str]:
    """A line for each override below what ``last`` replaces, of which it leaves nothing."""
    place = last.replaces
    return [
        f"{each.source}: would be lost, since {last.source} comes after it and replaces {'.'.join(place)} whole;"
        " write it after that"
        for each in gone
        if len(each.replaces) > len(place) and each.replaces[: len(place)] == place
    ]


def _extended(tree: Node, path: Path | None) -> Node:
    """``tree``, which stands at ``path``, on top of what it extends."""
    trees, files = [tree], [path.resolve()] if path else []
    while (extends := _extends(trees[-1])) is not None:
        try:
            path = find_recipe(str(extends.value), beside=path)
        except RecipeError as error:
            absent = not_installed(name for each in trees for name in _packages(each))
            hint = f"; it may be of {' or '.join(absent)}, not installed here" if absent else ""
            raise RecipeError([f"{extends.origin}: extends: {error}{hint}"]) from error
        if path.resolve() in files:
            circle = [*files[files.index(path.resolve()) :], path]
            names = " -> ".join(file.name for file in circle)
            raise RecipeError([f"{extends.origin}: extends: goes in a circle: {names}; take one of them out"])
        files.append(path.resolve())
        trees.append(read_yaml(path))
    merged = Node({}, trees[-1].origin)
    for each in reversed(trees):
        # A name belongs to its own file: a recipe that extends another is not that one. Its packages are needed still.
        below = _packages(merged)
        merged = merge(_without(merged, "name"), _without(each, "extends"))
        assert isinstance(merged.value, dict)
        if below and ((own := _packages(merged)) or merged.value["packages"].value == []):
            merged.value["packages"] = Node(list((below | own).values()), merged.value["packages"].origin)
    return merged


def _packages(tree: Node) -> dict[str, Node]:
    """The packages that a recipe names, where it names any rightly."""
    named = tree.value.get("packages") if isinstance(tree.value, dict) else None
    listed = named.value if named is not None and isinstance(named.value, list) else []
    return {node.value: node for node in listed if isinstance(node.value, str) and PACKAGE.fullmatch(node.value)}


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
