"""How recipes build on each other: ``extends`` and ``--set``.

Mappings merge, lists and scalars replace, null goes back to the default. A part's bare name is first expanded to
``{type: name}``, the numbers that are a kind's short form to the option that they are of, and a part whose type changes
is replaced whole. Below a part, where its options alone know what is a
part, a text that meets a mapping is the name of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.errors import RecipeError
from zoo.kinds import KINDS, Kind, kind_at
from zoo.recipe.latent import PLANE
from zoo.recipe.source import Node, Origin, node_of, parse_yaml, show


def merge(base: Node, over: Node) -> Node:
    """``base`` overridden by ``over``; nulls stay, so that messages can say where they were written."""
    return _merge(base, over, ())


@dataclass(frozen=True)
class Override:
    """One value in place of a recipe's.

    Attributes:
        source: where it was written, as messages show it.
        keys: of the place.
        value: with ``source`` as its origin.
    """

    source: str
    keys: tuple[str, ...]
    value: Node

    @property
    def replaces(self) -> tuple[str, ...]:
        """The keys of what it takes the place of; of a part's type, the part's."""
        *above, last = self.keys
        path = tuple(above)
        return path if last == "type" and (is_part(path) or _is_below_part(path)) else self.keys

    @property
    def named(self) -> Iterator[str]:
        """The keys that it gives a value, dotted: of a mapping, those of what is in it."""
        return map(".".join, _leaves(self.keys, self.value))

    def on(self, tree: Node) -> Node:
        """``tree`` with the value; list items are addressed as ``levels.0.patch``.

        Raises:
            RecipeError: a list item that is not there, or a place below what has none.
        """
        return _assign(tree, self.keys, self.value, (), self.source)


def read_override(assignment: str, option: str | None = "--set") -> Override:
    """Read ``key.path=value``, from the shell or from Python, with a value in YAML.

    Args:
        assignment: what was written.
        option: of the shell, which messages name; None: from Python.

    Raises:
        RecipeError: not of that form.
    """
    key_path, equals, text = assignment.partition("=")
    key_path = key_path.strip() if equals else assignment
    source = f"{option} {assignment}" if option else f"overrides[{key_path!r}]"
    keys = _keys_of(key_path if equals else "", source, "key.path=value, such as backbone.depth=24")
    return Override(source, keys, parse_yaml(text, source, line_numbers=False))


def override_of(key_path: object, value: Any) -> Override:
    """A value from Python, at a key path such as ``levels.0.patch``.

    Raises:
        RecipeError: no key path, or a value that no recipe could hold.
    """
    source = f"overrides[{key_path!r}]"
    keys = _keys_of(key_path if isinstance(key_path, str) else "", source, "a key path, such as 'backbone.depth'")
    return Override(source, keys, node_of(value, Origin(source)))


def _keys_of(key_path: str, source: str, form: str) -> tuple[str, ...]:
    keys = tuple(key_path.split("."))
    if not all(keys):
        raise RecipeError([f"{source}: write it as {form}"])
    if keys[0] == "extends":
        raise RecipeError([f"{source}: extends is fixed in the file; write a recipe of three lines instead"])
    return keys


def _leaves(keys: tuple[str, ...], node: Node) -> Iterator[tuple[str, ...]]:
    if isinstance(node.value, dict) and node.value:
        for key, below in node.value.items():
            yield from _leaves((*keys, str(key)), below)
    else:
        yield keys


def without_nulls(node: Node) -> Node:
    """``node`` without the keys that are null, since null means the default."""
    if isinstance(node.value, list):
        return Node([without_nulls(item) for item in node.value], node.origin)
    if not isinstance(node.value, dict):
        return node
    kept = {key: without_nulls(below) for key, below in node.value.items() if below.value is not None}
    return Node(kept, node.origin)


def _merge(base: Node, over: Node, path: tuple[str, ...], *, stay: bool = False) -> Node:
    """``base`` overridden by ``over``; a mapping that is in both keeps the origin of ``base`` if ``stay``."""
    base = expand_part(base, path, meets_mapping=isinstance(over.value, dict))
    over = expand_part(over, path, meets_mapping=isinstance(base.value, dict))
    if not isinstance(over.value, dict):
        return over
    below: dict[str, Node] = {}
    origin = over.origin
    if isinstance(base.value, dict) and _changes_type(base.value, over.value, path):
        below = {key: base.value[key] for key in _beside(path) if key in base.value}
    elif isinstance(base.value, dict):
        below = _without_other_form(base.value, over.value) if path == ("backbone", "latent") else base.value
        origin = base.origin if stay else over.origin
    missing = Node(None, over.origin)
    merged = {key: _merge(below.get(key, missing), node, (*path, key), stay=stay) for key, node in over.value.items()}
    return Node({**below, **merged}, origin)


def _without_other_form(base: dict[str, Node], over: dict[str, Node]) -> dict[str, Node]:
    """The size of latents without what says it in another form than ``over``: one takes the place of the other."""
    given = {key for key, node in over.items() if node.value is not None}
    other = PLANE if "size" in given else ("size",) if given.intersection(PLANE) else ()
    return {key: node for key, node in base.items() if key not in other}


def _assign(node: Node, keys: Sequence[str], value: Node, path: tuple[str, ...], source: str) -> Node:
    """``node`` with ``value`` merged in at ``keys`` below it."""
    if not keys:
        return _merge(node, value, path, stay=True)
    node = expand_part(node, path, meets_mapping=True)
    key, rest = keys[0], keys[1:]
    if isinstance(node.value, list):
        places = [str(place) for place in range(len(node.value))]
        if key not in places:
            raise RecipeError([f"{source}: {'.'.join(path)} has no item {key!r}; it has {', '.join(places) or 'none'}"])
        items = list(node.value)
        items[int(key)] = _assign(items[int(key)], rest, value, (*path, key), source)
        return Node(items, node.origin)
    if not isinstance(node.value, dict | None):
        raise RecipeError([f"{source}: {'.'.join(path)} is {show(node.value)}, with nothing below it; set it itself"])
    missing = Node(None, value.origin)
    below = _assign((node.value or {}).get(key, missing), rest, value, (*path, key), source)
    return _merge(node, Node({key: below}, below.origin), path, stay=True)


def expand_part(node: Node, path: tuple[str, ...], *, meets_mapping: bool = False) -> Node:
    """A part's bare name as ``{type: name}``, and its short form as ``{option: value}``; anything else as it is."""
    if isinstance(node.value, str) and (is_part(path) or (meets_mapping and _is_below_part(path))):
        return Node({"type": node}, node.origin)
    kind = _place(path) if is_part(path) else None
    if kind is not None and kind.short and _is_number_or_list(node.value):
        return Node({kind.short: node}, node.origin)
    return node


def _is_number_or_list(value: Any) -> bool:
    return isinstance(value, int | float | list) and not isinstance(value, bool)


def is_part(path: tuple[str | int, ...]) -> bool:
    """Whether a recipe has a part at this key path, by itself and not in a list."""
    kind = kind_at(str(path[0]), str(path[1])) if len(path) == 2 else None
    return kind is not None and not KINDS[kind].many


def _is_below_part(path: tuple[str, ...]) -> bool:
    return len(path) > 2 and kind_at(path[0], path[1]) is not None


def _place(path: tuple[str, ...]) -> Kind | None:
    """The kind whose part stands at this key path, by itself or in a list."""
    name = kind_at(path[0], path[1]) if len(path) == 2 or (len(path) == 3 and path[2].isdecimal()) else None
    return None if name is None else KINDS[name]


def _beside(path: tuple[str, ...]) -> tuple[str, ...]:
    """Keys that belong to a place in a list of parts, and not to the part that stands there."""
    kind = _place(path) if len(path) == 3 else None
    return () if kind is None else kind.beside


def _changes_type(base: dict[str, Node], over: dict[str, Node], path: tuple[str, ...]) -> bool:
    if "type" not in over or not (is_part(path) or _is_below_part(path)):
        return False
    kind = _place(path)
    default = None if kind is None else kind.default
    before = base["type"].value if "type" in base else None
    return (over["type"].value or default) != (before or default)
