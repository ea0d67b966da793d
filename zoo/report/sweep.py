"""Grids of recipes: every combination of values for some keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from zoo.errors import ZooError
from zoo.kinds import KINDS, kind_at
from zoo.recipe import Node
from zoo.registry import Registry

ALL = "all"


@dataclass(frozen=True)
class Variation:
    """A key of the recipe, and the values that it takes.

    Attributes:
        key: as ``--set`` would have it.
        values: as well.
        left_out: what ``all`` leaves out, and how to have it too.
    """

    key: str
    values: tuple[str, ...]
    left_out: str | None = None


def read_variation(text: str, tree: Node, registry: Registry) -> Variation:
    """Read ``key=a,b``, or ``key=all`` of a part, also of one inside another: every part of its kind that needs no
    option, and the one that the recipe has there.

    A value is what ``--set`` takes: ``backbone.upsampler={type: linear_mlp, ratio: 2},linear`` has two.

    Args:
        text: of ``--vary``.
        tree: the recipe.
        registry: the parts to choose from.

    Raises:
        ZooError: it is not of that form, or ``all`` of what is no part, or of which every part needs options.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not (equals and key and values.strip()):
        raise ZooError(f"--vary {text}: write it as key=a,b or key=all, such as backbone.upsampler=all")
    if values.strip() == ALL:
        return _all(key, text, tree, registry)
    found = _items(f"[{values}]")
    if not found:
        raise ZooError(f"--vary {text}: not valid YAML: write values with commas between them")
    if len(set(found)) < len(found):
        raise ZooError(f"--vary {text}: a value is there twice; remove one")
    return Variation(key, found)


def combinations(variations: Sequence[Variation]) -> Iterator[Mapping[str, str]]:
    """Every combination of values, by key; the last key changes fastest.

    Raises:
        ZooError: a key is varied twice.
    """
    keys = [each.key for each in variations]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise ZooError(f"--vary {twice[0]}: is there twice; write all of its values in one")
    for values in itertools.product(*(each.values for each in variations)):
        yield dict(zip(keys, values, strict=True))


def name_of(combination: Mapping[str, str]) -> str:
    """What a table calls a combination: the ends of the keys with their values."""
    ends = {key: key.rpartition(".")[2] for key in combination}
    unique = {key: end if list(ends.values()).count(end) == 1 else key for key, end in ends.items()}
    return ", ".join(f"{unique[key]}={value}" for key, value in combination.items())


def _items(text: str) -> tuple[str, ...]:
    """The items of a YAML list as they are written; none if it is none."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return ()
    if not isinstance(node, yaml.SequenceNode) or node.end_mark.index < len(text):
        return ()
    return tuple(text[each.start_mark.index : each.end_mark.index] for each in node.value)


def _all(key: str, text: str, tree: Node, registry: Registry) -> Variation:
    kind, own = _part_at(key.removesuffix(".type").split("."), tree, registry)
    if kind is None:
        kinds = ", ".join(f"{kind.section}.{name}" for name, kind in KINDS.items() if kind.section and not kind.many)
        raise ZooError(
            f"--vary {text}: `all` stands for the parts of a kind, and {key} is none of: {kinds}; nor a part inside one"
        )
    entries = registry.entries(kind)
    needing = {e.name: " and ".join(e.signature.required) for e in entries if e.signature.required and e.name != own}
    values = tuple(entry.name for entry in entries if entry.name not in needing)
    told = ", ".join(f"{name} (needs {options})" for name, options in needing.items())
    write = f"to have it too, write out what {key} takes, such as {{type: {next(iter(needing), '')}, ...}}"
    if not values:
        raise ZooError(f"--vary {text}: every {kind} needs options: {told}; {write}")
    return Variation(key, values, f"--vary {text}: leaves out {told}; {write}" if needing else None)


def _part_at(keys: Sequence[str], tree: Node, registry: Registry) -> tuple[str | None, str | None]:
    """The kind of part that stands at a key path of a recipe, and the name of the one that stands there now.

    Options of parts may hold parts, so what is inside one depends on which it is.
    """
    kind = kind_at(keys[0], keys[1]) if len(keys) > 1 else None
    if kind is None:
        return None, None
    default, node, rest = KINDS[kind].default, _below(_below(tree, keys[0]), keys[1]), keys[2:]
    if rest and node is not None and isinstance(node.value, list):
        node, rest = _below(node, rest[0]), rest[1:]
    elif KINDS[kind].many:
        return None, None
    for slot in rest:
        name = _name_in(node, default)
        nested = None if name is None else registry.get(kind, name).signature.parts.get(slot)
        if nested is None:
            return None, None
        kind, default, node = nested.kind, nested.default_name, _below(node, slot)
    return kind, _name_in(node, default)


def _below(node: Node | None, key: str) -> Node | None:
    if node is not None and isinstance(node.value, dict):
        return node.value.get(key)
    if node is not None and isinstance(node.value, list) and key in map(str, range(len(node.value))):
        return node.value[int(key)]
    return None


def _name_in(node: Node | None, default: str | None) -> str | None:
    found = _below(node, "type") or node
    return found.value if found is not None and isinstance(found.value, str) else default
