"""The JSON schema accepts every recipe that zoo ships, and refuses what zoo would refuse for its form."""

import copy
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from zoo.errors import RecipeError
from zoo.parts import Norm, Part
from zoo.parts.norms import LayerNorm
from zoo.recipe import draft_recipe, list_recipes, read_tree
from zoo.recipe.find import package_recipes
from zoo.recipe.json_schema import recipe_schema
from zoo.recipe.source import read_yaml
from zoo.registry import Registry, part

RECIPES = sorted(package_recipes().rglob("*.yaml"))

BASE = {
    "backbone": {
        "latent": {"channels": 4, "height": 8, "width": 8},
        "num_classes": 10,
        "dim": 32,
        "depth": 2,
        "heads": 2,
        "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 1}, {"patch": [2, 2], "blocks": 1}]},
    }
}
REMOVE = object()


@pytest.fixture(scope="module")
def validator(registry):
    schema = recipe_schema(registry)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def changed(path: str, value: object) -> dict:
    recipe = copy.deepcopy(BASE)
    at = recipe
    *above, last = path.split(".")
    for key in above:
        at = at[int(key)] if key.isdecimal() else at.setdefault(key, {})
    if value is REMOVE:
        del at[last]
    else:
        at[last] = value
    return recipe


def test_there_are_recipes_to_check():
    assert len(RECIPES) == len({path.stem for path in RECIPES}) >= 40
    assert {path.stem for path in RECIPES} <= {recipe.name for recipe in list_recipes()[0]}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_accepts_every_recipe(validator, path: Path):
    assert not list(validator.iter_errors(read_yaml(path).plain()))


@pytest.mark.parametrize("path", RECIPES[:3], ids=lambda path: path.stem)
def test_accepts_every_recipe_written_out_in_full(validator, registry, path: Path):
    assert not list(validator.iter_errors(draft_recipe(read_tree(path), registry).recipe().resolved()))


ACCEPTED = [
    ("backbone.time_embedder", "fno"),
    ("backbone.time_embedder", {"type": "fno", "modes": 3}),
    ("backbone.time_embedder", {"layers": 3}),
    ("backbone.time_embedder", None),
    ("backbone.time_embedder", {"layers": None}),
    ("backbone.num_classes", REMOVE),
    ("backbone.num_classes", None),
    ("backbone.latent", {"channels": 4, "size": [8]}),
    ("backbone.latent", {"channels": 4, "size": [8, 8]}),
    ("backbone.latent", {"channels": 4, "size": [4, 8, 8]}),
    ("backbone.skip", "none"),
    ("backbone.patch_schedule", {"type": "uniform", "patch": [2, 4]}),
    ("backbone.class_conditioner", {"std": 1}),
    ("backbone.block", {"attention": "softmax"}),
    ("backbone.block", {"attention": {"bias": False, "qk_norm": "rms"}, "cross": None, "mlp": {"ratio": 2}}),
    ("backbone.block", {"type": "dit", "attention": {"type": "cross", "qk_norm": {"type": "layer", "affine": True}}}),
    ("backbone.block", {"mlp": {"type": "swiglu", "multiple_of": 8}, "norm": {"eps": 0.1}}),
    ("backbone.block", [{"type": "dit", "blocks": 1}, {"mlp": "swiglu", "blocks": 1}]),
    ("evaluate.metrics", ["fid", {"type": "precision_recall", "neighbours": 5}]),
    ("evaluate.metrics", None),
    ("sample.guidance", 2),
    ("sample.guidance", [1.5]),
    ("sample.guidance", {"channels": 3}),
    ("sample.guidance", "classifier_free"),
    ("name", "mine"),
    ("name", None),
]
REFUSED = [
    ("backbone", REMOVE),
    ("backbone", None),
    ("backbone", []),
    ("backbone.dim", REMOVE),
    ("backbone.dim", None),
    ("backbone.dim", "32"),
    ("backbone.dim", True),
    ("backbone.dim", 32.5),
    ("backbone.dim", 0),
    ("backbone.dimm", 32),
    ("backbone.latent.width", REMOVE),
    ("backbone.latent.wdith", 3),
    ("backbone.latent.size", [8, 8]),
    ("backbone.latent", {"channels": 4}),
    ("backbone.latent", {"size": [8]}),
    ("backbone.latent", {"channels": 4, "size": 8}),
    ("backbone.latent", {"channels": 4, "size": []}),
    ("backbone.latent", {"channels": 4, "size": [2, 4, 8, 8]}),
    ("backbone.latent", {"channels": 4, "size": [8, 0]}),
    ("backbone.skip", "linaer"),
    ("backbone.patch_schedule", REMOVE),
    ("backbone.patch_schedule", "by_depth"),
    ("backbone.patch_schedule.type", REMOVE),
    ("backbone.patch_schedule.levels", REMOVE),
    ("backbone.patch_schedule.levels", []),
    ("backbone.patch_schedule.levels.0.patch", 0),
    ("backbone.patch_schedule.levels.0.patch", []),
    ("backbone.patch_schedule.levels.0.patch", [2, 2, 2, 2]),
    ("backbone.patch_schedule.levels.0.blocks", REMOVE),
    ("backbone.patch_schedule.levels.0.bloks", 3),
    ("backbone.time_embedder", "sinsoidal"),
    ("backbone.time_embedder", 3),
    ("backbone.time_embedder", {"type": "fno", "block": 3}),
    ("backbone.time_embedder", {"modes": 3}),
    ("backbone.time_embedder", {"layers": 4}),
    ("backbone.time_embedder", {"layers": True}),
    ("backbone.class_conditioner", {"std": "0.02"}),
    ("backbone.block", {"attention": "rms"}),
    ("backbone.block", {"attention": {"ratio": 2}}),
    ("backbone.block", {"attention": {"qk_norm": {"eps": 0.1}}}),
    ("backbone.block", {"cross": {"bias": True}}),
    ("backbone.block", {"mlp": {"multiple_of": 0}}),
    ("backbone.block", {"mlp": {"type": "gelu", "gate": 1}}),
    ("backbone.block", []),
    ("backbone.block", ["dit", "dit"]),
    ("backbone.block", {"type": "dit", "blocks": 2}),
    ("backbone.block", [{"type": "dit"}, {"blocks": 1}]),
    ("backbone.block", [{"type": "dit", "blocks": 0}, {"blocks": 2}]),
    ("backbone.block", [{"type": "dti", "blocks": 2}]),
    ("backbone.block", [{"blocks": 2, "norm": {"affin": True}}]),
    ("evaluate.metrics", []),
    ("evaluate.metrics", "fid"),
    ("evaluate.metrics", [{"neighbours": 5}]),
    ("evaluate.metric", ["fid"]),
    ("sample.guidance", -1),
    ("sample.guidance", []),
    ("sample.guidance", True),
    ("sample.guidance", ["classifier_free"]),
    ("sample.guidance", {"scales": 2}),
    ("trainn", {}),
    ("name", 3),
    ("name", ""),
]


@pytest.mark.parametrize(("path", "value"), ACCEPTED)
def test_accepts_what_zoo_accepts(validator, registry, path, value):
    assert not list(validator.iter_errors(changed(path, value)))
    draft_recipe(read_tree(changed(path, value)), registry).recipe()


@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_refuses_what_zoo_refuses(validator, registry, path, value):
    assert not validator.is_valid(changed(path, value))
    with pytest.raises(RecipeError):
        draft_recipe(read_tree(changed(path, value)), registry).recipe()


@pytest.mark.parametrize(
    ("recipe", "valid"),
    [
        ({"extends": "dit_b.yaml"}, True),
        ({"extends": "dit_b.yaml", "backbone": {"dim": 32}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"latent": {"width": 64}}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"latent": {"size": [4, 8, 8]}}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"latent": {"size": [8], "width": 8}}}, False),
        ({"extends": "dit_b.yaml", "backbone": {"dim": None, "time_embedder": None}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"time_embedder": {"modes": 3}}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"patch_schedule": {"type": "by_depth"}}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"block": {"mlp": {"rounding": "up"}}}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"block": {"attention": {"qk_norm": {"affine": True}}}}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"block": {"attention": {"qk_norm": {"affin": True}}}}}, False),
        ({"extends": "dit_b.yaml", "backbone": {"block": [{"blocks": 6}, {"blocks": 6}]}}, True),
        ({"extends": "dit_b.yaml", "backbone": {"block": [{"blocks": 6}, {}]}}, False),
        ({"extends": 3}, False),
        ({"extends": None}, False),
        ({"extends": "dit_b.yaml", "backbone": {"dimm": 32}}, False),
        ({"extends": "dit_b.yaml", "backbone": {"dim": "32"}}, False),
        ({"extends": "dit_b.yaml", "backbone": {"time_embedder": {"type": "fno", "layers": 3}}}, False),
    ],
)
def test_a_recipe_that_extends_another_may_leave_things_out(validator, recipe, valid):
    assert validator.is_valid(recipe) is valid


def test_says_what_each_part_is(validator):
    fno = validator.schema["$defs"]["time_embedder.fno"]
    assert fno["title"] == "time_embedder fno"
    assert fno["description"].startswith("A Fourier neural operator")
    assert fno["properties"]["modes"]["anyOf"][0]["exclusiveMinimum"] == 0


def test_a_kind_is_defined_once_and_may_hold_parts_of_its_own():
    @part("norm", "both")
    class Both(LayerNorm):
        def __init__(self, dim: int, *, first: Part[Norm] | None = None) -> None: ...

    schema = recipe_schema(Registry().with_parts([Both]))
    own = schema["$defs"]["norm.both"]["properties"]["first"]["anyOf"]
    assert own == [{"$ref": "#/$defs/norm"}, {"type": "null"}]
    recipe = changed("backbone.block", {"norm": {"type": "both", "first": {"type": "both", "first": "both"}}})
    assert Draft202012Validator(schema).is_valid(recipe)
    recipe["backbone"]["block"]["norm"]["first"]["first"] = "bothh"
    assert not Draft202012Validator(schema).is_valid(recipe)
