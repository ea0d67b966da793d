"""Grids of recipes: every combination of values for some keys."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from zoo.errors import ZooError
from zoo.kinds import KINDS
from zoo.recipe.merge import is_part
from zoo.registry import Registry

ALL = "all"


@dataclass(frozen=True)
class Variation:
    """A key of the recipe, and the values that it takes, as ``--set`` would have them."""

    key: str
    values: tuple[str, ...]


def read_variation(text: str, registry: Registry) -> Variation:
    """Read ``key=a,b``, or ``key=all`` of a part: every part of its kind that needs no option.

    A value is what ``--set`` takes: ``backbone.upsampler={type: linear_mlp, ratio: 2},linear`` has two.

    Raises:
        ZooError: it is not of that form, or ``all`` of what is no part.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not (equals and key and values.strip()):
        raise ZooError(f"--vary {text}: write it as key=a,b or key=all, such as backbone.upsampler=all")
    if values.strip() == ALL:
        return Variation(key, _all(key, text, registry))
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


def _all(key: str, text: str, registry: Registry) -> tuple[str, ...]:
    path = tuple(key.removesuffix(".type").split("."))
    if not is_part(path):
        kinds = ", ".join(f"{kind.section}.{name}" for name, kind in KINDS.items() if kind.section and not kind.many)
        raise ZooError(f"--vary {text}: `all` stands for the parts of a kind, and {key} is none of: {kinds}")
    return tuple(entry.name for entry in registry.entries(path[1]) if not entry.signature.required)
