"""The size of latents: height and width of two axes, or the lengths of one to three."""

from typing import Any

import pytest

from zoo.errors import RecipeError
from zoo.recipe import Draft, Recipe, all_differences, draft_recipe, read_tree
from zoo.recipe.draft import SUPPLIED_FROM
from zoo.recipe.fingerprint import fingerprint
from zoo.registry import Registry

PLANE = {"channels": 4, "height": 8, "width": 16}
VIDEO = {"channels": 4, "size": [2, 8, 16]}


def draft_of(latent: Any, overrides: Any = ()) -> Draft:
    backbone = {"latent": latent, "dim": 32, "depth": 2, "heads": 2, "num_classes": 3}
    tree = {"backbone": {**backbone, "patch_schedule": {"type": "uniform", "patch": 2}}}
    return draft_recipe(read_tree(tree, overrides), Registry.installed())


def recipe(latent: Any, overrides: Any = ()) -> Recipe:
    """One that has been checked but for what its parts make of it."""
    return draft_of(latent, overrides).recipe()


def problems(latent: Any, overrides: Any = ()) -> list[str]:
    with pytest.raises(RecipeError) as refused:
        recipe(latent, overrides)
    return list(refused.value.problems)


@pytest.mark.parametrize(
    ("latent", "size", "words"),
    [
        (PLANE, (8, 16), "latent 4 x 8 x 16"),
        ({"channels": 4, "size": [64]}, (64,), "latent 4 x 64"),
        ({"channels": 4, "size": [8, 16]}, (8, 16), "latent 4 x 8 x 16"),
        (VIDEO, (2, 8, 16), "latent 4 x 2 x 8 x 16"),
    ],
)
def test_size_is_a_tuple_of_as_many_axes_as_there_are(latent, size, words):
    backbone = recipe(latent).backbone
    assert (backbone.latent.channels, backbone.latent.size) == (4, size)
    assert backbone.words.startswith(f"{words}, 3 classes")


def test_two_axes_are_recorded_as_height_and_width_however_they_are_written():
    plane, size = (recipe(latent).resolved() for latent in (PLANE, {"channels": 4, "size": [8, 16]}))
    assert plane["backbone"]["latent"] == size["backbone"]["latent"] == PLANE
    assert not all_differences(plane, size)
    assert fingerprint(plane) == fingerprint(size)


@pytest.mark.parametrize("latent", [{"channels": 4, "size": [64]}, VIDEO])
def test_other_axes_are_recorded_as_they_are_written(latent):
    resolved = recipe(latent).resolved()
    assert resolved["backbone"]["latent"] == latent
    again = draft_recipe(read_tree(resolved), Registry.installed()).recipe()
    assert again == recipe(latent)
    assert all_differences(resolved, recipe(PLANE).resolved())


@pytest.mark.parametrize(
    ("latent", "path", "problem"),
    [
        ({**PLANE, "size": [8, 16]}, "", "give either height and width, or size, such as [8, 32, 32]"),
        ({"channels": 4, "width": 8, "size": [8]}, "", "give either height and width, or size, such as [8, 32, 32]"),
        ({"channels": 4}, "", "give either height and width, or size, such as [8, 32, 32]"),
        ({"channels": 4, "sise": [8]}, "", "give either height and width, or size, such as [8, 32, 32]"),
        ({"channels": 4, "width": 8}, ".height", "missing; it is required"),
        ({"channels": 4, "height": 8}, ".width", "missing; it is required"),
        ({**PLANE, "height": 0}, ".height", "should be at least 1, got 0"),
        ({"size": [8]}, ".channels", "missing; it is required"),
        ({"channels": 4, "size": 8}, ".size", "should be a list, got 8"),
        ({"channels": 4, "size": []}, ".size", "should have 1 or more items, got []"),
        ({"channels": 4, "size": [1, 2, 3, 4]}, ".size", "should have 3 items at most, got [1, 2, 3, 4]"),
        ({"channels": 4, "size": [8, 0]}, ".size.1", "should be at least 1, got 0"),
        ({"channels": 4, "size": [8, 2.0]}, ".size.1", "should be a whole number, got 2.0"),
        ({"channels": 4, "size": [True]}, ".size.0", "should be a whole number, got true"),
        ({**VIDEO, "chanels": 4}, ".chanels", "unknown option; did you mean 'channels'?"),
        ([4, 8, 8], "", "should be a mapping, got [4, 8, 8]"),
    ],
)
def test_what_is_no_size_is_told_in_one_line(latent, path, problem):
    assert problems(latent) == [f"recipe: backbone.latent{path}: {problem}"]


@pytest.mark.parametrize(
    ("latent", "overrides", "size"),
    [
        (PLANE, ["backbone.latent.size=[2, 8, 16]"], (2, 8, 16)),
        (PLANE, ["backbone.latent={size: [64]}", "backbone.latent.channels=1"], (64,)),
        (PLANE, {"backbone.latent.size": (2, 8, 16)}, (2, 8, 16)),
        (VIDEO, ["backbone.latent.height=8", "backbone.latent.width=16"], (8, 16)),
        (VIDEO, ["backbone.latent={height: 8, width: 16}"], (8, 16)),
        (VIDEO, ["backbone.latent.size.0=4"], (4, 8, 16)),
        (VIDEO, ["backbone.latent.size=[64]"], (64,)),
    ],
)
def test_a_size_that_overrides_takes_the_place_of_one_in_the_other_form(latent, overrides, size):
    assert recipe(latent, overrides).backbone.latent.size == size


def test_an_overriding_height_without_width_lacks_one():
    assert problems(VIDEO, ["backbone.latent.height=8"]) == ["recipe: backbone.latent.width: missing; it is required"]


@pytest.mark.parametrize(("base", "over"), [(PLANE, VIDEO), (VIDEO, PLANE)])
def test_a_recipe_that_extends_one_of_the_other_form_replaces_its_size(base, over, tmp_path):
    backbone = {"dim": 32, "depth": 2, "heads": 2, "num_classes": 3, "patch_schedule": "{type: uniform, patch: 2}"}
    lines = "".join(f"  {key}: {value}\n" for key, value in {"latent": base, **backbone}.items())
    (tmp_path / "base.yaml").write_text("backbone:\n" + lines.replace("'", ""))
    size = {key: value for key, value in over.items() if key != "channels"}
    (tmp_path / "over.yaml").write_text(f"extends: base.yaml\nbackbone: {{latent: {size}}}\n".replace("'", ""))
    found = draft_recipe(read_tree(tmp_path / "over.yaml"), Registry.installed()).recipe()
    assert found.resolved()["backbone"]["latent"] == over


@pytest.mark.parametrize(
    ("latent", "keys"), [(VIDEO, ["size"]), ({"channels": 4, "size": [8, 16]}, ["size"]), (PLANE, ["height", "width"])]
)
def test_what_is_said_of_a_size_says_where_it_is_from(latent, keys):
    draft = draft_of(latent, ["data.dataset=images"])
    draft.problems.clear()
    draft.put_down(("data", "dataset"), "cannot fill this size", SUPPLIED_FROM["size"])
    with pytest.raises(RecipeError) as refused:
        draft.recipe()
    written = ", ".join(f"latent.{key} from recipe" for key in keys)
    told = f"--set data.dataset=images: data.dataset: cannot fill this size ({written})"
    assert refused.value.problems == (told,)


def test_a_sound_size_is_known_beside_what_is_not_sound():
    draft = draft_recipe(read_tree({"backbone": {"latent": VIDEO, "dim": "x"}}), Registry.installed())
    assert draft.values["backbone"]["latent"].size == (2, 8, 16)
    assert "dim" not in draft.values["backbone"]
