"""Paths in recipes: relative to the user's own file that says them, and else to the working folder."""

from types import SimpleNamespace
from typing import Annotated

import pytest
import yaml
from pydantic import Field

import zoo
from tests.train.small import VALUES
from zoo.assembly import load_recipe
from zoo.data import Dataset, PathOrName, PathText
from zoo.parts.norms import LayerNorm
from zoo.plugins import Plugin
from zoo.recipe import absolute, differences
from zoo.recipe.find import RecipeFolder
from zoo.registry import Registry, part
from zoo.signature import Place, places_of, read_signature


@part("dataset", "theirs")
class Theirs(Dataset):
    """Somebody's dataset, with paths under names of its own."""

    def __init__(self, *, root: PathText, cache: PathText | None = None, teacher: PathOrName | None = None) -> None:
        pass

    def open(self, split="train"):
        raise NotImplementedError

    def to_images(self, latents):
        raise NotImplementedError


REGISTRY = Registry()
REGISTRY.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [Theirs])), Plugin("tests", "1"))


def write(path, **sections):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(sections))
    return str(path)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working folder beside the recipes."""
    (tmp_path / "shell").mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    return tmp_path


def dataset(recipe, *overrides):
    return load_recipe(recipe, overrides, REGISTRY).data.dataset.options


def test_options_that_are_paths_are_told_by_their_types():
    assert places_of(read_signature(Theirs, ()).options) == {
        "root": Place(), "cache": Place(), "teacher": Place(or_name=True)
    }  # fmt: skip


def test_a_path_is_relative_to_the_file_that_says_it(elsewhere):
    base = write(elsewhere / "a" / "base.yaml", **VALUES, data={"dataset": {"type": "images", "folder": "pictures"}})
    own = write(elsewhere / "b" / "own.yaml", extends="../a/base.yaml", data={"dataset": {"flip": False}})
    over = write(elsewhere / "b" / "over.yaml", extends="../a/base.yaml", data={"dataset": {"folder": "../c/x"}})
    assert dataset(base).folder == dataset(own).folder == str(elsewhere / "a" / "pictures")
    assert dataset(over).folder == str(elsewhere / "c" / "x")
    assert dataset("../b/own.yaml").folder == str(elsewhere / "a" / "pictures")


def test_what_set_says_is_relative_to_the_shell_and_what_is_absolute_stays(elsewhere):
    own = write(elsewhere / "a" / "own.yaml", **VALUES, data={"dataset": {"type": "images", "folder": "pictures"}})
    assert dataset(own, "data.dataset.folder=mine").folder == "mine"
    assert dataset(own, "data.dataset.folder=/data/x").folder == "/data/x"
    assert dataset(own, "data.dataset.folder=~/x").folder == "~/x"
    assert dataset(VALUES, "data.dataset={type: images, folder: mine}").folder == "mine"


def test_what_a_package_says_is_relative_to_the_shell(elsewhere, monkeypatch):
    assert dataset("mpdit_b").folder == "data/imagenet256_latents"
    own = write(elsewhere / "a" / "own.yaml", extends="mpdit_b.yaml")
    assert dataset(own).folder == "data/imagenet256_latents"
    theirs = write(elsewhere / "site" / "pkg" / "t.yaml", **VALUES, data={"dataset": {"type": "images", "folder": "d"}})
    assert dataset(theirs).folder == str(elsewhere / "site" / "pkg" / "d")
    folder = RecipeFolder(elsewhere / "site" / "pkg", Plugin("theirs", "1"))
    monkeypatch.setattr("zoo.recipe.places.recipe_folders", lambda: ([folder], []))
    assert dataset(theirs).folder == "d"


def test_a_name_of_something_elsewhere_is_no_path(elsewhere):
    data = {"dataset": {"type": "latents", "folder": "x", "vae": "stabilityai/sd-vae-ft-ema"}}
    own = write(elsewhere / "a" / "own.yaml", **VALUES, data=data)
    assert dataset(own).vae == "stabilityai/sd-vae-ft-ema"
    (elsewhere / "a" / "stabilityai" / "sd-vae-ft-ema").mkdir(parents=True)
    assert dataset(own).vae == str(elsewhere / "a" / "stabilityai" / "sd-vae-ft-ema")


def test_paths_of_other_peoples_parts_and_of_sections(elsewhere):
    data = {"dataset": {"type": "theirs", "root": "r"}, "leave_out": "list.txt"}
    own = write(elsewhere / "a" / "own.yaml", **{**VALUES, "train": {"init": "start.safetensors"}}, data=data)
    recipe = load_recipe(own, (), REGISTRY)
    assert recipe.data.dataset.options.root == str(elsewhere / "a" / "r")
    assert recipe.data.leave_out == str(elsewhere / "a" / "list.txt")
    assert recipe.train.init == str(elsewhere / "a" / "start.safetensors")
    ids = load_recipe(own, ["data.leave_out=[a/1.png]"], REGISTRY)
    assert ids.data.leave_out == ("a/1.png",)


def test_a_default_is_no_ones_words(elsewhere):
    @part("dataset", "defaulting")
    class Defaulting(Theirs):
        """One that has a default."""

        def __init__(self, *, root: Annotated[str, Field(min_length=1), Place()] = "here") -> None:
            pass

    registry = Registry()
    registry.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [Defaulting])), Plugin("tests", "1"))
    own = write(elsewhere / "a" / "own.yaml", **VALUES, data={"dataset": "defaulting"})
    assert load_recipe(own, (), registry).data.dataset.options.root == "here"


def test_a_run_means_the_same_wherever_its_record_is_read(elsewhere):
    recipe = load_recipe(
        VALUES,
        ["data.dataset={type: latents, folder: x, vae: hub/name}", "train.init=w.safetensors", "data.leave_out=[x]"],
        REGISTRY,
    )
    found = absolute(recipe)
    assert found.data.dataset.options.folder == str(elsewhere / "shell" / "x")
    assert found.data.dataset.options.vae == "hub/name"
    assert found.train.init == str(elsewhere / "shell" / "w.safetensors")
    assert found.data.leave_out == ("x",)
    assert absolute(found) == found
    assert differences(recipe.resolved(), found.resolved()) == []


def test_weights_to_start_from_may_move_but_are_no_others(elsewhere):
    one, other, third = (
        load_recipe(VALUES, [f"train.init={path}"], REGISTRY).resolved() for path in ("a/w.pt", "/b/w.pt", "a/v.pt")
    )
    assert differences(one, other) == []
    assert differences(one, third) == ['train.init: "w.pt" and "v.pt"']


def test_paths_of_parts_inside_parts(elsewhere):
    @part("norm", "measured")
    class Measured(LayerNorm):
        """One that reads a file."""

        def __init__(self, dim: int, *, statistics: PathText) -> None:
            super().__init__(dim)

    values = {**VALUES, "backbone": {**VALUES["backbone"], "block": {"norm": {"type": "measured", "statistics": "s"}}}}
    own = write(elsewhere / "a" / "own.yaml", **values)
    registry = Registry().with_parts([Measured])

    def statistics(recipe):
        return recipe.backbone.block_specs[0].parts["norm"].options.statistics

    assert statistics(load_recipe(own, (), registry)) == str(elsewhere / "a" / "s")
    over = load_recipe(own, {"backbone.block.norm.statistics": "t"}, registry)
    assert statistics(over) == "t"
    assert statistics(absolute(over)) == str(elsewhere / "shell" / "t")
    run = {**values["backbone"]["block"], "blocks": values["backbone"]["depth"]}
    runs = write(elsewhere / "b" / "own.yaml", **{**VALUES, "backbone": {**VALUES["backbone"], "block": [run]}})
    assert statistics(load_recipe(runs, (), registry)) == str(elsewhere / "b" / "s")
