"""Which format a foreign checkpoint is of: by its keys, its shapes, its name, its settings and the recipe."""

import argparse
from pathlib import Path

import pytest
import torch

from tests.weights.tiny import DIT, MPDIT, PLAIN, SIT
from zoo.assembly import build, load_recipe
from zoo.errors import RecipeError, WeightsError
from zoo.weights import (
    Weights,
    conversion,
    from_published,
    read_checkpoint,
    to_published,
)
from zoo.weights.foreign import ForeignCheckpoint


def test_keys_of_no_format(convert):
    with pytest.raises(WeightsError) as caught:
        convert({f"layer{index}": torch.ones(1) for index in range(5)})
    assert str(caught.value) == (
        "x.pt: its keys are of none of dit, mpdit, mpditv2, ppflow, sit; they begin with layer0, layer1, layer2. If it"
        " is one of these, --format NAME tells what is missing"
    )


def test_keys_of_a_backbone_of_zoos_own(recipe, tmp_path, registry):
    torch.save(build(recipe(SIT), registry=registry).state_dict(), tmp_path / "own.pt")
    with pytest.raises(WeightsError, match=r"keys are those of a backbone of zoo's own: .* zoo.save then writes a"):
        from_published(read_checkpoint(tmp_path / "own.pt"), None, registry)


def hints(caught):
    return [each for each in caught.value.problems if not each.endswith(("is missing", "is unexpected"))
            and "in place of" not in each]  # fmt: skip


def test_what_the_shapes_say_of_another_backbone_comes_first(published, convert):
    other = SIT | {"dim": 16, "depth": 3, "num_classes": 7, "latent": {"channels": 4, "height": 8, "width": 8}}
    with pytest.raises(WeightsError) as caught:
        convert(published(), other)
    assert hints(caught) == list(caught.value.problems[:4]) == [
        'backbone.latent is {"channels": 4, "height": 8, "width": 8} in the recipe, and {"channels": 3, "height": 4,'
        ' "width": 8} by the shapes',
        "backbone.num_classes is 7 in the recipe, and 5 by the shapes",
        "backbone.dim is 16 in the recipe, and 8 by the shapes",
        "backbone.depth is 3 in the recipe, and 2 by the shapes",
    ]  # fmt: skip


def test_keys_of_another_format_are_told_first(published, convert):
    for layout, backbone, given, line in (
        ("sit", SIT, MPDIT, "its keys are sit or dit's"),
        ("mpdit", MPDIT, SIT, "its keys are mpdit's"),
    ):
        with pytest.raises(WeightsError) as caught:
            convert(published(layout, backbone), given, format="mpdit" if given is MPDIT else "sit")
        assert hints(caught) == [line] == list(caught.value.problems[:1])


def test_without_a_hint_where_shapes_tell_nothing(published, convert):
    tensors = {key: tensor for key, tensor in published().items() if "y_embedder" not in key}
    with pytest.raises(WeightsError) as caught:
        convert(tensors, SIT)
    assert caught.value.problems == ("y_embedder.embedding_table.weight is missing",)


# -- DiT or SiT -------------------------------------------------------------------------------------------------------

SAME = "the keys of DiT and SiT are the same"
EITHER = f"{SAME}; read as"


@pytest.mark.parametrize(("name", "layout"), [("DiT-XL-2-256x256.pt", "dit"), ("SiT-XL-2.pt", "sit")])
def test_a_files_name_tells_dit_and_sit_apart_and_that_is_noted(name, layout, published, convert):
    converted = convert(published(), name=name)
    assert converted.format == converted.weights.source["format"] == layout
    assert converted.notes[0] == f"{EITHER} {layout}, by the name {Path(name).stem}"


NOISE = {"prediction": "noise", "time_embedder": {"type": "sinusoidal", "clock": "data", "scale": 1000.0}}


@pytest.mark.parametrize(
    ("backbone", "layout", "of"),
    [(PLAIN, "sit", "mine_dit"), (PLAIN, "sit", "mine"), (DIT | NOISE, "dit", "mine_sit")],
    ids=["sit called dit", "sit", "dit called sit"],
)
def test_a_recipes_prediction_and_path_tell_and_not_its_name(backbone, layout, of, published, registry):
    path = {"path": "vp"} if layout == "dit" else {}
    recipe = load_recipe({"name": of, "backbone": backbone, "objective": path}, registry=registry)
    for file in ("x.pt", "audit_and_visit.pt", f"{layout}.pt"):
        converted = from_published(ForeignCheckpoint(Path(file), published(), ""), recipe, registry)
        assert converted.format == layout
        clock = "data" if layout == "sit" else "noise"
        assert converted.notes == (
            f"{EITHER} {layout}, by the recipe's prediction and path",
            f"backbone.time_embedder.clock is {clock}, as {layout} has it",
        )


MIXED = [
    None,
    PLAIN | {"prediction": "noise"},
    PLAIN | {"prediction": "data"},
    PLAIN | {"time_embedder": {"type": "sinusoidal", "scale": 1000.0}},
]


@pytest.mark.parametrize("backbone", MIXED, ids=["inferred", "noise, linear", "data", "scale"])
def test_where_nothing_tells_or_a_name_contradicts_it_is_refused(backbone, published, convert):
    for name in ("x.pt", "dit_to_sit.pt"):
        with pytest.raises(WeightsError) as caught:
            convert(published(), backbone, name=name)
        assert str(caught.value) == (
            f"{name}: {SAME}; neither a name tells them apart, nor a recipe's prediction and path: give --format dit or"
            " --format sit"
        )
    assert convert(published(), backbone, name="DiT.pt").format == "dit"


def test_a_name_that_contradicts_a_recipe_is_refused(published, convert):
    with pytest.raises(WeightsError) as caught:
        convert(published(), PLAIN, name="DiT-XL-2.pt")
    assert str(caught.value) == (
        f"DiT-XL-2.pt: {SAME}; the recipe mine has the prediction and path of sit, and the name DiT-XL-2 is dit's: give"
        " --format dit or --format sit"
    )


def test_the_settings_of_a_training_checkpoint_tell_before_the_files_name(published, save, registry):
    settings = argparse.Namespace(model="DiT-XL/2", lr=1e-4)
    for content in (settings, vars(settings)):
        checkpoint = read_checkpoint(save({"ema": published(), "args": content}, "SiT.pt"))
        converted = from_published(checkpoint, None, registry, overrides=["backbone.heads=2"])
        assert (converted.format, converted.notes[0]) == ("dit", f"{EITHER} dit, by the name DiT-XL/2")


def test_a_head_whose_second_half_was_never_trained_is_sits(published, convert):
    tensors = published()
    channels = SIT["latent"]["channels"]
    rows = torch.arange(len(tensors["final_layer.linear.weight"])) % (2 * channels)
    tensors["final_layer.linear.weight"][rows < channels] = 1.0
    converted = convert(tensors, name="DiT.pt")
    assert (converted.format, converted.notes) == ("sit", ())
    tensors["final_layer.linear.weight"][:] = 0.0
    assert convert(tensors, name="DiT.pt").format == "dit"


def test_a_head_whose_second_half_is_trained_contradicts_a_recipe_of_velocities(published, convert):
    tensors = published()
    tensors["final_layer.linear.weight"][:] = 1.0
    with pytest.raises(WeightsError) as caught:
        convert(tensors, PLAIN, name="model.pt")
    assert str(caught.value) == (
        f"model.pt: {SAME}; the recipe mine has the prediction and path of sit, and the second half of the head's"
        " channels is trained, as dit's is: give --format dit or --format sit"
    )
    assert convert(tensors, PLAIN, name="SiT.pt").format == convert(tensors, SIT, name="model.pt").format == "sit"


@pytest.mark.parametrize(("backbone", "layout"), [(DIT, "dit"), (SIT, "sit")], ids=["dit", "sit"])
@pytest.mark.parametrize("name", ["DiT.pt", "SiT.pt"])
def test_a_recipe_tells_them_apart_without_a_note(backbone, layout, name, published, convert):
    converted = convert(published(), backbone, name=name)
    assert (converted.format, converted.notes) == (layout, ())


@pytest.mark.parametrize("name", ["DiT.pt", "SiT.pt"])
@pytest.mark.parametrize("layout", ["dit", "sit"])
def test_the_format_that_was_given_is_taken(layout, name, published, convert):
    converted = convert(published(), name=name, format=layout)
    assert (converted.format, converted.notes) == (layout, ())
    backbone = converted.weights.recipe.backbone
    wanted = DIT if layout == "dit" else SIT
    assert backbone.prediction == wanted.get("prediction", "velocity")
    expected = {"type": "sinusoidal", "layers": 2, "clock": "noise", "scale": 1.0} | wanted["time_embedder"]
    assert backbone.time_embedder.resolved() == expected


def test_another_format_that_fails_hides_no_reason(recipe, registry, monkeypatch):
    weights = Weights(recipe(MPDIT), {}, {})
    expected = "mine: dit cannot hold it"
    with pytest.raises(WeightsError, match=f"^{expected}, and --to mpdit can"):
        to_published(weights, "dit", registry)

    def fail(*_):
        raise RecipeError(["of another format"])

    monkeypatch.setattr(conversion, "with_clock_of", fail)
    with pytest.raises(WeightsError, match=f"^{expected}:"):
        to_published(weights, "dit", registry)
