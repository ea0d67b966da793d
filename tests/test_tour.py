"""The notebook docs/tour.ipynb runs from top to bottom, in fewer steps."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zoo.cli import app

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
LESS = {
    "train.steps=500": "train.steps=2",
    "--count 100": "--count 8",
    "check_part(SquaredReLU)": "check_part(SquaredReLU, laws=['is_per_token'])",
}
"""What is done for less; tests/test_page_examples.py holds all laws on the part."""
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def as_python(cell: str) -> str:
    """Lines for the shell call ``shell``, as a notebook would run them; for less."""
    lines = (f"shell({line[1:]!r})" if line.startswith("!") else line for line in cell.splitlines())
    text = "\n".join(lines)
    for much, less in LESS.items():
        text = text.replace(much, less)
    return text


def shell(line: str) -> None:
    command, *words = shlex.split(line)
    assert command == "zoo"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"shell": shell}
    for cell in CODE:
        exec(compile(as_python(cell), NOTEBOOK.name, "exec"), names)
    assert names["latents"].shape == (2, 1, 16, 16)
    assert (tmp_path / "runs/tour/images/grid.png").is_file()


@pytest.mark.parametrize("much", LESS)
def test_what_is_done_for_less_is_shown(much):
    assert "".join(CODE).count(much) == 1


def test_it_is_kept_without_what_it_printed():
    for cell in CELLS:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.parametrize("name", ["cost", "compare", "diagram", "sample", "load"])
def test_it_shows_what_most_people_call(name):
    assert f"zoo.{name}(" in "".join(CODE)
