"""How recipes build on each other: ``extends`` and ``--set``.

Mappings merge, lists and scalars replace, null goes back to the default. A part's bare name is first expanded to
``{type: name}``, and a part whose type changes is replaced whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.errors import RecipeError
from zoo.recipe.schema import DEFAULT_PARTS
from zoo.recipe.source import Node, Origin, parse_yaml
from zoo.registry import KINDS


def merge(base: Node, over: Node) -> Node:
    """``base`` overridden by ``over``."""
    return _merge(base, over, ())


def override(tree: Node, assignment: str) -> Node:
    """``tree`` with one ``key.path=value`` from the shell; list items are addressed as ``levels.0.patch``.

    Raises:
        RecipeError: not of that form, or a list item that is not there.
    """
    key_path, equals, text = assignment.partition("=")
    source = f"--set {assignment}"
    keys = key_path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError([f"{source}: write it as key.path=value, such as backbone.depth=24"])
    if keys[0] == "extends":
        raise RecipeError([f"{source}: extends is fixed in the file; write a recipe of three lines instead"])
    value = parse_yaml(text, source, line_numbers=False) if text.strip() else Node(None, Origin(source))
    return _assign(tree, keys, value, (), source)


def _merge(base: Node, over: Node, path: tuple[str, ...]) -> Node:
    base, over = expand_part(base, path), expand_part(over, path)
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)) or _changes_type(base, over, path):
        return _without_nulls(over, path)
    merged = dict(base.value)
    for key, node in over.value.items():
        if node.value is None:
            merged.pop(key, None)
        elif key in merged:
            merged[key] = _merge(merged[key], node, (*path, key))
        else:
            merged[key] = _without_nulls(node, (*path, key))
    return Node(merged, over.origin)


def _assign(node: Node, keys: Sequence[str], value: Node, path: tuple[str, ...], source: str) -> Node:
    """``node`` with ``value`` merged in at ``keys`` below it."""
    if not keys:
        return _merge(node, value, path)
    node = expand_part(node, path)
    key, rest = keys[0], keys[1:]
    if isinstance(node.value, list):
        if not key.isdecimal() or int(key) >= len(node.value):
            where = ".".join(path)
            raise RecipeError([f"{source}: {where} is a list of {len(node.value)}; address an item by 0 and on"])
        items = list(node.value)
        items[int(key)] = _assign(items[int(key)], rest, value, (*path, key), source)
        return Node(items, node.origin)
    if not isinstance(node.value, dict):
        where = ".".join(path)
        raise RecipeError([f"{source}: {where} is {node.value!r}, with nothing below it"])
    if key in node.value and rest:
        below = _assign(node.value[key], rest, value, (*path, key), source)
        return Node({**node.value, key: below}, node.origin)
    for outer in reversed(rest):
        value = Node({outer: value}, value.origin)
    return _merge(node, Node({key: value}, value.origin), path)


def expand_part(node: Node, path: tuple[str, ...]) -> Node:
    """A part's bare name as ``{type: name}``; anything else as it is."""
    if is_part(path) and isinstance(node.value, str):
        return Node({"type": node}, node.origin)
    return node


def is_part(path: tuple[str | int, ...]) -> bool:
    """Whether a recipe has a part at this key path."""
    return len(path) == 2 and path[0] == "backbone" and path[1] in KINDS


def _changes_type(base: Node, over: Node, path: tuple[str, ...]) -> bool:
    if not is_part(path) or not isinstance(over.value, dict) or not isinstance(base.value, dict):
        return False
    if "type" not in over.value:
        return False
    default = DEFAULT_PARTS.get(path[1])
    before = base.value["type"].value if "type" in base.value else default
    return over.value["type"].value != before


def _without_nulls(node: Node, path: tuple[str, ...]) -> Node:
    """``node`` without keys that are null, since they mean the default; and with parts expanded."""
    node = expand_part(node, path)
    if not isinstance(node.value, dict):
        return node
    kept = {key: _without_nulls(below, (*path, key)) for key, below in node.value.items() if below.value is not None}
    return Node(kept, node.origin)
