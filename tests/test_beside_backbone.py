"""Parts beside the backbone are tried when a recipe is read, too: what they refuse is told before anything is built."""

from importlib import import_module

import pytest

import zoo
from tests.train.small import VALUES
from zoo.assembly import create_part
from zoo.errors import RecipeError
from zoo.kinds import KINDS, key_of

BESIDE = [name for name, kind in KINDS.items() if kind.section not in (None, "backbone")]


def refusing(kind):
    """A part of a kind that refuses its option, whatever it is."""

    def refuse(self, *, side: int = 3) -> None:
        raise ValueError(f"side {side} is not even")

    module, name = KINDS[kind].base.split(":")
    base = getattr(import_module(module), name)
    methods = {each: lambda self, *given: None for each in getattr(base, "__abstractmethods__", ())}
    cls = type("Refusing", (base,), {**methods, "__init__": refuse, "__doc__": "Refuses.", "__module__": __name__})
    return zoo.part(kind, "refusing")(cls)


def values_with(kind, part):
    section = KINDS[kind].section
    given = [part] if KINDS[kind].many else part
    return {**VALUES, section: {**VALUES.get(section, {}), key_of(kind): given}}


def test_there_are_parts_beside_the_backbone():
    assert {"noise_sampler", "weighting", "dataset", "normalize", "solver", "features", "metric"} <= set(BESIDE)


@pytest.mark.parametrize("kind", BESIDE)
def test_what_a_part_beside_the_backbone_refuses_is_told_when_a_recipe_is_read(kind):
    with pytest.raises(RecipeError) as refused:
        zoo.load_recipe(values_with(kind, {"type": "refusing", "side": 5}), parts=[refusing(kind)])
    place = f"{KINDS[kind].section}.{key_of(kind)}" + (".0" if KINDS[kind].many else "")
    assert refused.value.problems == (f"recipe: {place}: refusing: side 5 is not even",)


def test_it_is_told_beside_what_else_is_wrong():
    values = values_with("solver", {"type": "refusing"})
    values["data"] = {"normalize": {"type": "per_channel", "mean": [0.0, 1.0], "std": [1.0, 1.0]}}
    with pytest.raises(RecipeError) as refused:
        zoo.load_recipe(values, {"train.steps": 0}, parts=[refusing("solver")])
    assert sorted(refused.value.problems) == [
        "overrides['train.steps']: train.steps: should be at least 1, got 0",
        "recipe: data.normalize.mean: has 2 numbers, and the latent has 1 channel",
        "recipe: data.normalize.std: has 2 numbers, and the latent has 1 channel",
        "recipe: sample.solver: refusing: side 3 is not even",
    ]


def test_a_dataset_that_nobody_chose_is_told_of_when_it_is_used():
    video = {**VALUES["backbone"], "latent": {"channels": 1, "size": [8, 8, 8]}, "dim": 24}
    recipe = zoo.load_recipe({"backbone": video})
    assert zoo.build(recipe, device="meta").latent == (1, 8, 8, 8)
    told = "data.dataset: digits: makes latents of two axes, and the recipe's size has 3: 8 x 8 x 8; choose another"
    with pytest.raises(RecipeError, match=told):
        create_part(recipe, "dataset")
    with pytest.raises(RecipeError, match=told):
        zoo.load_recipe({"backbone": video, "data": {"dataset": "digits"}})
