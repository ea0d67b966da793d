"""The packages that a recipe names: told where one of its parts is not there, and asked for by nothing else."""

import pytest

from zoo.assembly import load_recipe
from zoo.errors import RecipeError

MIXED = "extends: digits_mpdit\npackages: [not-here, pluggy, also-not]\nbackbone: {upsampler: strange}\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def problems_of(path, text, registry):
    path.write_text(text, "utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, registry=registry)
    return caught.value.problems


def test_those_that_are_not_here_are_told_beside_the_part(tmp_path, registry):
    part, *packages = problems_of(tmp_path / "mixed.yaml", MIXED, registry)
    assert part.startswith("mixed.yaml:3: backbone.upsampler.type: there is no upsampler 'strange'")
    told = "mixed.yaml:2: packages: {0} is not installed; pip install {0}"
    assert packages == [
        told.format("not-here"),
        told.format("pluggy"),
        told.format("also-not"),
    ]  # pluggy plugs in nothing


def test_a_recipe_needs_those_of_what_it_extends(tmp_path, registry):
    (tmp_path / "mixed.yaml").write_text(MIXED, "utf-8")
    _, *packages = problems_of(tmp_path / "mine.yaml", "extends: mixed.yaml\npackages: [more, not-here]\n", registry)
    assert [each.split()[2] for each in packages] == ["not-here", "pluggy", "also-not", "more"]


def test_where_all_parts_are_here_nobody_asks(registry):
    recipe = load_recipe({"extends": "digits_mpdit", "packages": ["not-here"]}, registry=registry)
    assert recipe.packages == ("not-here",)
    assert "packages" not in recipe.resolved()
    assert load_recipe({"extends": "digits_mpdit", "packages": None}, registry=registry).packages == ()


def test_a_recipe_that_one_extends_may_be_of_one(tmp_path, registry):
    (line,) = problems_of(tmp_path / "mine.yaml", "extends: strange_b\npackages: [not-here]\n", registry)
    assert line.startswith("mine.yaml:1: extends: strange_b: there is no such recipe")
    assert line.endswith("; not-here is not installed, which it may be of")


@pytest.mark.parametrize("wrong", ["not-here", "{a: 1}", "[1]"])
def test_what_is_no_list_of_names_is_refused(wrong, tmp_path, registry):
    (line,) = problems_of(tmp_path / "mine.yaml", f"extends: digits_mpdit\npackages: {wrong}\n", registry)
    assert line.startswith("mine.yaml:2: packages")
