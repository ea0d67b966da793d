"""No two rooms of the house know each other both ways, so that each can be read, and changed, without the other.

A folder of zoo is a room, and so is a file beside them, but for the few that belong together. Every import counts, also
one that a function makes, or a type checker alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ZOO = Path(__file__).parents[1] / "zoo"
FACE = "zoo"
"""What ``import zoo`` gives names all of the house by design; nothing in it may go through that."""

TOGETHER = {
    "__main__": "cli",
    "backbone": "assembly",
    **dict.fromkeys(
        (
            "claims",
            "format_entries",
            "hooks",
            "hookspecs",
            "kinds",
            "loose_parts",
            "part_entries",
            "parts_file",
            "plugin_loading",
            "plugins",
            "signature",
        ),
        "registry",
    ),
}
"""Files that are in a room with others."""

ROOMS = (
    "cli",
    "testing",
    "scaffold",
    "plan",
    "report",
    "train",
    "evaluate",
    "sampling",
    "runs",
    "weights",
    "audit",
    "flow",
    "optim",
    "callbacks",
    "assembly",
    "data",
    "parts",
    "paths",
    "recipe",
    "registry",
    "distributed",
)

CIRCLES = {frozenset({"zoo.data.base", "zoo.data.problems"})}
"""Files that know each other all the same. A source that says nothing better is checked by reading it, which is told in
a file of its own. Nothing is to be added here."""


COPIED = "scaffold/parts"
"""What is copied into packages of others: written as by strangers, through the face of the house."""


def arrows(package: Path) -> dict[str, set[str]]:
    """The modules that each module of a package imports, by their dotted names."""
    paths = (path for path in package.rglob("*.py") if path.parent != package / COPIED)
    files = {_module(path, package): path for path in paths}
    return {name: set(_imported(path, files)) - {name} for name, path in files.items()}


def _module(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{each.name}" for each in node.names]
        for name in names:
            found = next((each for each in (name, name.rpartition(".")[0]) if each in files), None)
            if found is not None:
                yield found


def room_of(module: str) -> str:
    first = module.split(".")[1] if "." in module else module
    return TOGETHER.get(first, first)


def both_ways(known: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Pairs of those that know each other."""
    return {frozenset({one, other}) for one in known for other in known[one] if one in known.get(other, ())}


def by_room(known: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The rooms that each room knows."""
    rooms: dict[str, set[str]] = {}
    for module, others in known.items():
        rooms.setdefault(room_of(module), set()).update(map(room_of, others))
    return {room: others - {room} for room, others in rooms.items()}


def circle_in(known: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return error.args[1]
    return []


KNOWN = arrows(ZOO)


def test_no_two_rooms_know_each_other() -> None:
    rooms = by_room(KNOWN)
    assert set(ROOMS) <= rooms.keys(), "a room has another name; mend ROOMS"
    assert not both_ways({room: rooms[room] for room in ROOMS})


def test_no_files_go_in_a_circle() -> None:
    assert both_ways(KNOWN) == CIRCLES
    broken = {name: {each for each in others if {name, each} not in CIRCLES} for name, others in KNOWN.items()}
    assert circle_in(broken) == []


def test_nothing_goes_through_the_face_of_the_house() -> None:
    assert [name for name, others in KNOWN.items() if FACE in others] == []


@pytest.mark.parametrize(
    "text",
    [
        "from zoo.recipe import Recipe",
        "import zoo.recipe.schema",
        "from zoo import recipe",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zoo.recipe.schema import Recipe",
        "def late():\n    from zoo.recipe.schema import Recipe",
    ],
)
def test_a_circle_is_found_however_it_is_written(text: str, tmp_path: Path) -> None:
    house = tmp_path / "zoo"
    (house / "recipe").mkdir(parents=True)
    for name in ("__init__.py", "recipe/__init__.py", "registry.py"):
        (house / name).touch()
    (house / "recipe" / "schema.py").write_text("from zoo.registry import Registry")
    assert both_ways(by_room(arrows(house))) == set()
    (house / "signature.py").write_text(text)
    assert both_ways(by_room(arrows(house))) == {frozenset({"recipe", "registry"})}


def test_a_circle_of_three_is_found() -> None:
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
