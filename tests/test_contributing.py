"""CONTRIBUTING.md shows the house as it stands: its rooms, and excerpts of its files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_rooms import KNOWN, ROOMS, by_room

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```python (\S+)\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
"""Files, and excerpts of them."""


def pieces(excerpt: str) -> list[str]:
    """What is shown without a gap; a line of dots stands for what is left out."""
    return re.split(r"^ *\.\.\.\n", excerpt, flags=re.MULTILINE)


@pytest.mark.parametrize(("path", "excerpt"), SHOWN, ids=[path for path, _ in SHOWN])
def test_excerpts_stand_in_their_files(path: str, excerpt: str) -> None:
    rest = (ROOT / path).read_text(encoding="utf-8")
    for piece in pieces(excerpt):
        assert piece in rest
        rest = rest.partition(piece)[2]


def test_every_step_of_a_new_kind_is_shown() -> None:
    assert len({path for path, _ in SHOWN}) == len(SHOWN) == TEXT.count("```python") == 7


def test_a_new_kind_touches_no_file_that_is_not_told() -> None:
    section = TEXT.partition("## A new kind\n")[2].partition("\n## ")[0]
    told = re.findall(r"zoo/[\w./]+", section)
    in_code = re.compile(r"\"downsamplers?\"|Downsampler|downsamplers\.|downsampler:")
    naming = [file for file in (ROOT / "zoo").rglob("*.py") if in_code.search(file.read_text(encoding="utf-8"))]
    assert len(naming) > 5
    for file in naming:
        assert any(file.relative_to(ROOT).as_posix().startswith(each) for each in told), file


def test_rooms_know_what_the_table_says_and_only_what_is_below_them() -> None:
    rows = TEXT.partition("<!-- rooms -->\n")[2].partition("\n<!-- /rooms -->")[0].splitlines()[2:]
    cells = [[re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:3]] for row in rows]
    shown = {room: known for (room,), known in cells}
    rooms = by_room(KNOWN)
    assert shown == {room: [each for each in ROOMS if each in rooms[room]] for room in ROOMS}
    assert all(ROOMS.index(room) < ROOMS.index(each) for room, known in shown.items() for each in known)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:zoo|tests|plugins)/[\w./-]*|\.ci/run)`", TEXT))))
def test_every_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()
