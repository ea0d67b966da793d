"""``zoo diagram``: a drawing of an assembly in a file, and every error as a clear line with exit code 2."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import Result

from tests.commands import refused, zoo


def diagram(*words: str) -> Result:
    return zoo("diagram", *words)


def test_writes_a_drawing():
    result = diagram("--recipe", "digits_hybrid", "--out", "way.svg")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote way.svg\n")
    assert ET.parse("way.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert [path.name for path in Path().iterdir()] == ["way.svg"]


def test_set_overrides():
    diagram("--recipe", "digits_dit", "--out", "one.svg")
    diagram("--recipe", "digits_dit", "--set", "name=mine <&>", "--set", "backbone.dim=48", "--out", "two.svg")
    one, two = (ET.parse(name).getroot() for name in ("one.svg", "two.svg"))
    assert two[0].text == "mine <&>: the way of the tokens"
    assert "width 48" in "".join(two.itertext())
    assert "width 48" not in "".join(one.itertext())


@pytest.mark.parametrize("name", ["way.png", "way", "svg", "way.svg.txt"])
def test_refuses_a_name_that_is_no_svg(name):
    assert refused(diagram("--recipe", "digits_dit", "--out", name)) == f"--out {name}: let the name end in .svg"
    assert not list(Path().iterdir())


def test_refuses_a_file_that_exists():
    Path("way.svg").write_text("precious")
    assert refused(diagram("--recipe", "digits_dit", "--out", "way.svg")).startswith("way.svg: exists already")
    assert Path("way.svg").read_text() == "precious"


def test_a_recipe_that_is_not_there():
    assert refused(diagram("--recipe", "nope", "--out", "way.svg")).startswith("nope: there is no such recipe")
    assert not Path("way.svg").exists()
