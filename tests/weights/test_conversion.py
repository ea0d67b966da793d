"""Published checkpoints as weights of ours: recognised, settled and complete; or all that does not fit, at once."""

import argparse
from pathlib import Path

import pytest
import torch

from tests.weights.layouts import FORMATS, same_bits
from zoo.assembly import build, load_recipe
from zoo.errors import NumericError, RecipeError, WeightsError
from zoo.flow import sample
from zoo.flow.diffusion_solvers import DDIMSolver
from zoo.weights import (
    Weights,
    conversion,
    filled,
    from_published,
    read_checkpoint,
    to_published,
    write_initialised,
    write_published,
)
from zoo.weights.foreign import ForeignCheckpoint

SIT = {
    "latent": {"channels": 3, "height": 4, "width": 8},
    "num_classes": 5,
    "dim": 8,
    "depth": 2,
    "heads": 2,
    "patch_schedule": {"type": "uniform", "patch": 2},
    "time_embedder": {"type": "sinusoidal", "clock": "data"},
    "head": {"type": "linear", "learn_sigma": True},
}
PLAIN = SIT | {"time_embedder": "sinusoidal"}
DIT = SIT | {"time_embedder": {"type": "sinusoidal", "scale": 1000.0}, "prediction": "noise"}
MPDIT = {
    **SIT,
    "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]},
    "time_embedder": "fno",
    "class_conditioner": {"type": "class_tokens", "tokens": 2},
    "modulation": "shared_adaln",
    "upsampler": "linear_linear",
}


@pytest.fixture
def recipe(registry):
    def do(backbone):
        objective = {"path": "vp"} if backbone is DIT else {}
        return load_recipe({"name": "mine", "backbone": backbone, "objective": objective}, registry=registry)

    return do


@pytest.fixture
def published(registry, recipe):
    """Weights in a published layout, random ones."""

    def do(layout="sit", backbone=SIT):
        own = build(recipe(backbone), registry=registry, device="cpu").state_dict()
        return to_published(Weights(recipe(backbone), own, {}), layout, registry)

    return do


@pytest.fixture
def convert(registry, recipe):
    """An import of tensors as if from a file of that name, into a backbone or, if None, one that shapes tell."""

    def do(tensors, backbone=None, name="x.pt", overrides=("backbone.heads=2",), **how):
        checkpoint = ForeignCheckpoint(Path(name), tensors, "")
        given = None if backbone is None else recipe(backbone)
        return from_published(checkpoint, given, registry, overrides=() if given else overrides, **how)

    return do


def with_value(tensors, value, *keys):
    changed = {key: tensors[key].clone() for key in keys}
    for tensor in changed.values():
        tensor.view(-1)[-1] = value
    return tensors | changed


@pytest.mark.parametrize("backbone", [SIT, None], ids=["recipe", "inferred"])
def test_all_tensors_with_nan_or_infinite_values_are_named(backbone, published, convert):
    tensors = published()
    bad = with_value(
        with_value(tensors, float("nan"), "x_embedder.proj.bias"), float("-inf"), "blocks.1.mlp.fc2.weight"
    )
    with pytest.raises(NumericError) as caught:
        convert(bad, backbone, format="sit")
    assert str(caught.value) == (
        f"x.pt: 2 of {len(tensors)} tensors hold values that are not finite: x_embedder.proj.bias,"
        " blocks.1.mlp.fc2.weight; take another checkpoint of that training"
    )
    assert caught.value.exit_code == 5
    convert(tensors, backbone, format="sit")


def test_weights_that_were_not_chosen_may_be_nan(save, published, recipe, registry):
    tensors = published()
    path = save({"model": with_value(tensors, float("nan"), "pos_embed"), "ema": tensors})
    assert from_published(read_checkpoint(path), recipe(SIT), registry)
    with pytest.raises(NumericError, match="pos_embed"):
        from_published(read_checkpoint(path, weights="raw"), recipe(SIT), registry)


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


def test_a_weight_file_of_zoos_own_needs_no_import(registry, recipe, tmp_path):
    write_initialised(recipe(SIT), tmp_path / "own.safetensors", 0)
    with pytest.raises(WeightsError, match=r"own\.safetensors: is a weight file of zoo's own, which needs no import$"):
        from_published(read_checkpoint(tmp_path / "own.safetensors"), None, registry)


def test_every_key_that_does_not_fit_is_told_at_once(published, convert):
    tensors = {key: tensor for key, tensor in published().items() if key != "blocks.1.attn.proj.bias"}
    tensors |= {"final_layer.linear.bias": torch.ones(7), "extra.weight": torch.ones(1), "more": torch.ones(1)}
    with pytest.raises(WeightsError, match=r"^x\.pt: does not fit mine, read as sit:\n") as caught:
        convert(tensors, SIT)
    assert sorted(caught.value.problems) == [
        "blocks.1.attn.proj.bias is missing",
        "extra.weight is unexpected",
        "final_layer.linear.bias has shape [7] in place of [24]",
        "more is unexpected",
    ]
    assert caught.value.exit_code == 3


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


def test_the_head_has_the_sign_of_its_format(published, convert):
    weight = published()["final_layer.linear.weight"] + 1.0
    for layout, sign in (("dit", 1), ("sit", -1)):
        converted = convert(published() | {"final_layer.linear.weight": weight}, format=layout)
        assert torch.equal(converted.weights.tensors["heads.2x2.proj.weight"], sign * weight)


def test_what_dit_fixes_is_settled_and_noted(published, convert, registry):
    converted = convert(published(), PLAIN, format="dit")
    assert converted.notes == (
        "backbone.prediction is noise, as dit has it",
        "backbone.time_embedder.scale is 1000.0, as dit has it",
        "objective.path is vp, as dit has it",
    )
    assert converted.weights.recipe.backbone.resolved() == convert(published(), DIT).weights.recipe.backbone.resolved()


def test_what_dit_predicts_is_sampled_as_ddim_writes_it(published, convert):
    """By DDPM's formulas: its betas, its timesteps, and the noise in the first half of the channels."""
    weights = convert(published(), format="dit").weights
    backbone = filled(weights, torch.device("cpu"), torch.float64)
    z = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, steps = torch.tensor([1, 0]), 10
    found = sample(backbone, DDIMSolver(), z, labels, steps=steps, draw=torch.zeros)
    fed = []
    backbone.time_embedder.register_forward_pre_hook(lambda module, inputs: fed.append(1000 * float(inputs[0][0])))
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
    ticks = [1000 * k // steps - 1 for k in range(steps, 0, -1)]
    for tick, bar, after in zip(ticks, bars[ticks], [*bars[ticks[1:]], torch.tensor(1.0)], strict=True):
        with torch.no_grad():
            noise = backbone(z, torch.full((2,), (tick + 1) / 1000, dtype=torch.float64), labels)
        z = after.sqrt() * (z - (1 - bar).sqrt() * noise) / bar.sqrt() + (1 - after).sqrt() * noise
    assert fed == pytest.approx(ticks)
    assert torch.allclose(found, z, rtol=0, atol=1e-5)


# -- what else is told ------------------------------------------------------------------------------------------------


def test_another_position_table_is_taken_and_noted(published, convert):
    tensors = published()
    table = tensors["pos_embed"] + 0.25
    converted = convert(tensors | {"pos_embed": table}, SIT)
    assert torch.equal(converted.weights.tensors["positions.2x2.table"], table[0])
    assert converted.notes == (
        "pos_embed is up to 0.25 away from the table of the recipe's position part; the checkpoint's is taken",
    )
    assert convert(with_value(tensors, float(tensors["pos_embed"].view(-1)[-1]) + 5e-4, "pos_embed"), SIT).notes == ()


def test_heads_of_an_unknown_width_must_be_given(published, convert, tmp_path):
    with pytest.raises(WeightsError) as caught:
        convert(published(), overrides=(), format="sit")
    assert str(caught.value) == (
        "x.pt: the number of heads cannot be told from shapes, and 8 is no published width; set backbone.heads"
    )
    assert convert(published(), overrides=["backbone.heads=4"], format="sit").weights.recipe.backbone.heads == 4
    with pytest.raises(RecipeError, match="dim 8 does not divide by 3 heads"):
        convert(published(), overrides=["backbone.heads=3"], format="sit")


def test_heads_of_a_published_width_are_noted(registry, recipe, published):
    backbone = {**SIT, "dim": 384, "heads": 6, "depth": 1}
    checkpoint = ForeignCheckpoint(Path("SiT.pt"), published(backbone=backbone), "")
    converted = from_published(checkpoint, None, registry, format="sit")
    assert converted.notes == (
        "backbone.heads is 6, as published for width 384: shapes do not tell; set backbone.heads for another",
    )
    assert not from_published(checkpoint, None, registry, format="sit", overrides=["backbone.heads=4"]).notes


def test_recipes_of_the_working_folder_do_not_stand_in_for_a_family(published, convert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sit_b.yaml").write_text("nonsense: 1")
    backbone = {**SIT, "latent": {"channels": 4, "height": 4, "width": 8}}
    assert convert(published(backbone=backbone), format="sit").weights.recipe.sample.guidance.options.channels == 3


def test_an_inferred_recipe_takes_the_settings_of_its_family(published, convert):
    four = {"latent": SIT["latent"] | {"channels": 4}}
    for channels, factor in ((4, 0.18215), (3, None)):
        backbone = SIT | four if channels == 4 else SIT
        overrides = ["backbone.heads=2", "train.batch=7"]
        recipe = convert(published("sit", backbone), overrides=overrides, format="sit").weights.recipe
        normalize = recipe.data.normalize.resolved()
        assert normalize.get("factor") == factor
        assert recipe.sample.guidance.options.channels == (3 if channels == 4 else None)
        assert (recipe.name, recipe.train.batch) == ("imported", 7)


def test_an_inferred_recipe_does_not_start_from_what_its_family_starts_from(published, convert, monkeypatch):
    """An imported PPFlow-XL-2 that is trained on goes on from its own weights, not from a SiT-XL's."""
    monkeypatch.setattr(type(FORMATS["ppflow"]), "family", lambda self, backbone: "ppflow_xl_2")
    backbone = {
        **SIT,
        "latent": SIT["latent"] | {"channels": 4},
        "patch_schedule": {
            "type": "by_timestep",
            "stages": [{"noise_above": 0.5, "patch": 4}, {"noise_above": 0.0, "patch": 2}],
            "ties": "noisier",
        },
        "position": {"type": "sincos", "coordinates": "finest"},
        "stage_embedder": "learned",
    }
    train = convert(published("ppflow", backbone)).weights.recipe.train
    assert (train.steps, train.init) == (1_000_000, None)


@pytest.mark.parametrize(("content", "weights"), [("plain", "only"), ("ema", "ema"), ("model", "model")])
def test_where_the_weights_are_from_is_kept(content, weights, published, save, registry, recipe):
    tensors = published()
    path = save(tensors if content == "plain" else {content: tensors})
    converted = from_published(read_checkpoint(path), recipe(SIT), registry)
    assert converted.weights.source == {"file": "x.pt", "format": "sit", "weights": weights}


@pytest.mark.parametrize("pickled", [True, False])
def test_what_is_written_is_a_plain_state_dict(pickled, published, tmp_path):
    tensors = published()
    write_published(tmp_path / "x", tensors, pickle=pickled)
    read = read_checkpoint(tmp_path / "x")
    assert same_bits(read.tensors, tensors)
    assert read.weights == ""
    if pickled:
        assert same_bits(torch.load(tmp_path / "x", weights_only=True), tensors)


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
