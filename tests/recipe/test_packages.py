"""The packages that a recipe names: told where one of its parts is not there, and asked for by nothing else."""

import pytest
from jsonschema import Draft202012Validator

from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.recipe.json_schema import recipe_schema
from zoo.recipe.source import show

MIXED = "extends: digits_mpdit\npackages: [not-here, pluggy, also-not, Not_Here]\nbackbone: {upsampler: strange}\n"


def problems_of(path, text, registry):
    path.write_text(text, "utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, registry=registry)
    return caught.value.problems


def test_those_that_are_not_here_are_told_beside_the_part(tmp_path, registry):
    part, *packages = problems_of(tmp_path / "mixed.yaml", MIXED, registry)
    assert part.startswith("mixed.yaml:3: backbone.upsampler.type: there is no upsampler 'strange'")
    told = "mixed.yaml:2: packages: {0} is not installed; pip install {0}"
    assert packages == [told.format("not-here"), told.format("also-not")]


def test_a_recipe_needs_those_of_what_it_extends(tmp_path, registry):
    (tmp_path / "mixed.yaml").write_text(MIXED, "utf-8")
    _, *packages = problems_of(tmp_path / "mine.yaml", "extends: mixed.yaml\npackages: [more, not-here]\n", registry)
    assert [each.split()[2] for each in packages] == ["not-here", "also-not", "more"]


def test_an_empty_list_takes_none_away(tmp_path, registry):
    (tmp_path / "mixed.yaml").write_text(MIXED, "utf-8")
    _, *packages = problems_of(tmp_path / "mine.yaml", "extends: mixed.yaml\npackages: []\n", registry)
    assert [each.split()[2] for each in packages] == ["not-here", "also-not"]


def test_where_all_parts_are_here_nobody_asks(registry):
    recipe = load_recipe({"extends": "digits_mpdit", "packages": ["not-here"]}, registry=registry)
    assert recipe.packages == ("not-here",)
    assert "packages" not in recipe.resolved()
    assert load_recipe({"extends": "digits_mpdit", "packages": None}, registry=registry).packages == ()


def test_a_recipe_that_one_extends_may_be_of_one(tmp_path, registry):
    text = "extends: strange_b\npackages: [not-here, also-not, x; y]\n"
    (line,) = problems_of(tmp_path / "mine.yaml", text, registry)
    assert line.startswith("mine.yaml:1: extends: strange_b: there is no such recipe")
    assert line.endswith("; it may be of not-here or also-not, not installed here")


@pytest.mark.parametrize("wrong", ["mine>=2", "x; rm -rf ~", "", "-e", "mine ", "a\nb"])
def test_what_pip_and_a_shell_would_take_for_more_than_a_name_is_refused(wrong, tmp_path, registry):
    given = {"extends": "digits_mpdit", "packages": ["a", wrong], "backbone": {"upsampler": "strange"}}
    with pytest.raises(RecipeError) as caught:
        load_recipe(given, registry=registry)
    line, part = caught.value.problems
    assert line == (
        f"recipe: packages.1: should be the name of a package and nothing else, such as zoo-extra, got {show(wrong)}"
    )
    assert "strange" in part
    packages = recipe_schema(registry)["properties"]["packages"]
    assert Draft202012Validator(packages).is_valid(["a-b.C_1", "x"])
    assert not Draft202012Validator(packages).is_valid([wrong])


@pytest.mark.parametrize("wrong", ["not-here", "{a: 1}", "[1]"])
def test_what_is_no_list_of_names_is_refused(wrong, tmp_path, registry):
    (line,) = problems_of(tmp_path / "mine.yaml", f"extends: digits_mpdit\npackages: {wrong}\n", registry)
    assert line.startswith("mine.yaml:2: packages")
