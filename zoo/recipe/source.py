"""YAML text to a tree that remembers where each value stands.

PyYAML's safe loader reads ``1e-4`` as text, ``no`` as False and ``1:30`` as 90, takes the last of two equal keys
silently and expands alias bombs. This reader follows YAML 1.2's core schema, and refuses what no recipe needs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from zoo.errors import KeyPath, RecipeError, dotted
from zoo.recipe.not_yaml import in_words

TEXTS = (".yaml", ".yml", ".json", "")
MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_EVENTS = 20_000

Scalar = str | int | float | bool | None


class Origin(NamedTuple):
    """Where a value was written: a file and its line (from 1), the text of a ``--set``, or the key of an override.

    Attributes:
        source: as messages show it.
        line: of a file.
        file: the file itself, where it is one.
    """

    source: str
    line: int | None = None
    file: Path | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Node:
    """A YAML value and where it was written; ``value`` is a scalar, a list of nodes, or a dict of nodes by key."""

    value: Scalar | list[Node] | dict[str, Node]
    origin: Origin

    def plain(self) -> Any:
        """The value without origins."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def holds(self, keys: KeyPath) -> bool:
        """Whether there is a value below these keys, no list among them."""
        if not keys:
            return True
        return isinstance(self.value, dict) and keys[0] in self.value and self.value[str(keys[0])].holds(keys[1:])

    def origins(self) -> Iterator[Origin]:
        """Of this value and all below it."""
        yield self.origin
        below = self.value.values() if isinstance(self.value, dict) else self.value
        for each in below if not isinstance(below, Scalar) else ():
            yield from each.origins()

    def nearest(self, path: KeyPath) -> Node:
        """The value at ``path``, or the nearest one above it."""
        node = self
        for key in path:
            if isinstance(node.value, dict) and key in node.value:
                node = node.value[str(key)]
            elif isinstance(node.value, list) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
            else:
                break
        return node

    def origin_of(self, path: KeyPath) -> Origin:
        """Where the value at ``path`` was written, or the nearest value above it."""
        return self.nearest(path).origin


def node_of(value: Any, origin: Origin) -> Node:
    """Plain values as a tree whose every node has the same origin.

    Raises:
        RecipeError: a value that no recipe could hold.
    """
    if isinstance(value, Mapping):
        return Node({str(key): node_of(below, origin) for key, below in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Node([node_of(below, origin) for below in value], origin)
    if isinstance(value, os.PathLike):
        return Node(os.fspath(value), origin)
    if hasattr(value, "tolist"):  # numbers and arrays of numpy and torch
        return node_of(value.tolist(), origin)
    if not isinstance(value, Scalar):
        raise RecipeError([f"{origin}: recipes hold plain values, not {type(value).__name__}: {show(value)}"])
    return Node(value, origin)


def read_yaml(path: Path, *, piped: bool = False) -> Node:
    """Read a recipe file.

    Args:
        path: the file.
        piped: whether it may be a pipe, such as a shell's ``<(...)``; of another one nothing may ever come.

    Raises:
        RecipeError: it cannot be read, is not text, or is not plain YAML.
    """
    source = shown_path(path)
    try:
        if not piped and path.exists() and not path.is_dir() and not path.is_file():
            raise RecipeError([f"{source}: is no plain file; give a YAML file"])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError([f"{source}: cannot be read: {error.strerror or error}"]) from error
    if len(data) > MAX_BYTES:
        kib = MAX_BYTES // 1024
        raise RecipeError([f"{source}: larger than {kib} KiB; a recipe is a short text, is this the file?"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError([f"{source}: not UTF-8 text (byte {error.start}); is this a recipe?"]) from error
    return parse_yaml(text, source, file=path)


def shown_path(path: Path) -> str:
    """``path`` as messages show it: relative to the working folder if it lies below it, else as it was given."""
    below = os.path.relpath(path)
    return str(path) if below.startswith(os.pardir) else below


def show(value: Any) -> str:
    """A plain value as messages show it: as JSON, which a recipe could hold, and not at length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def parse_yaml(text: str, source: str, *, line_numbers: bool = True, file: Path | None = None) -> Node:
    """Parse YAML text.

    Args:
        text: one YAML document; an empty one is null.
        source: what error messages call it.
        line_numbers: whether they say the line.
        file: that it is the content of, if any.

    Raises:
        RecipeError: it is not YAML, nested or long beyond reason, or uses aliases, tags or equal keys.
    """
    try:
        return _Reader(text, source, line_numbers, file).read()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if line_numbers else None
        problem = f"character U+{error.character:04X} is not allowed; remove it"
        raise RecipeError([f"{Origin(source, line)}: not valid YAML: {problem}"]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Origin(source, mark.line + 1 if mark and line_numbers else None)
        doubt = "" if file is None or file.suffix in TEXTS else "; is this a recipe?"
        raise RecipeError([f"{where}: not valid YAML: {in_words(error)}{doubt}"]) from error


class _Reader:
    """Builds nodes from parser events, so that limits hold before anything is built."""

    def __init__(self, text: str, source: str, line_numbers: bool, file: Path | None) -> None:
        self.source, self.line_numbers, self.file = source, line_numbers, file
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.count = 0
        self.repeated: list[str] = []

    def read(self) -> Node:
        self._next()  # stream start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return Node(None, Origin(self.source, file=self.file))
        root = self._node(self._next(), ())
        self._next()  # document end
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse(after, "a second YAML document; a recipe is one document")
        if self.repeated:
            raise RecipeError(self.repeated)
        return root

    def _next(self) -> yaml.Event:
        self.count += 1
        event = next(self.events)
        if self.count > MAX_EVENTS:
            self._refuse(event, f"more than {MAX_EVENTS} YAML events; a recipe is a short text")
        return event

    def _node(self, event: yaml.Event, path: KeyPath) -> Node:
        if len(path) > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "aliases (*name) are not read in recipes; write the value out, or use `extends`")
        assert isinstance(event, yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            self._refuse(event, f"tags are not read in recipes; remove {tag}")
        origin = self._origin(event)
        if isinstance(event, yaml.ScalarEvent):
            return Node(self._scalar(event), origin)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                items.append(self._node(item, (*path, len(items))))
            return Node(items, origin)
        return Node(self._mapping(path), origin)

    def _mapping(self, path: KeyPath) -> dict[str, Node]:
        mapping: dict[str, Node] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event, path)
            if key in mapping:
                before = mapping[key].origin.line
                first = f", first on line {before}" if before else ""
                self.repeated.append(f"{self._origin(event)}: {dotted((*path, key))}: written twice{first}; remove one")
            node = self._node(self._next(), (*path, key))
            mapping[key] = Node(node.value, self._origin(event))  # a key's line says more than its value's
        return mapping

    def _key(self, event: yaml.Event, path: KeyPath) -> str:
        if isinstance(event, yaml.CollectionStartEvent):
            self._refuse(event, "keys are words, not lists or mappings")
        key = self._node(event, path).value
        if not isinstance(key, str):
            self._refuse(event, f"keys are words, not {show(key)}; put it in quotes if it is one")
        return key

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        if any("\ud800" <= char <= "\udfff" for char in event.value):
            self._refuse(event, "half of a surrogate pair is no character; write the character itself")
        return _resolve(event.value) if event.implicit[0] else event.value

    def _origin(self, event: yaml.Event) -> Origin:
        line = event.start_mark.line + 1 if self.line_numbers and event.start_mark else None
        return Origin(self.source, line, self.file)

    def _refuse(self, event: yaml.Event, problem: str) -> NoReturn:
        raise RecipeError([f"{self._origin(event)}: {problem}"])


_PLAIN: Sequence[tuple[str, Callable[[str], Scalar]]] = (
    (r"~|null|Null|NULL|", lambda text: None),
    (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    (r"[-+]?[0-9]{1,4300}", int),
    (r"0o[0-7]{1,64}", lambda text: int(text, 8)),
    (r"0x[0-9a-fA-F]{1,64}", lambda text: int(text, 16)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)
"""The forms of plain scalars in YAML 1.2's core schema, and their values; any other is text."""


def _resolve(text: str) -> Scalar:
    return next((value(text) for form, value in _PLAIN if re.fullmatch(form, text)), text)
