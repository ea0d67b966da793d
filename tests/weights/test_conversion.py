"""Published checkpoints as weights of ours: recognised, settled and complete; or all that does not fit, at once."""

from pathlib import Path

import pytest
import torch

from tests.weights.layouts import FORMATS, same_bits
from tests.weights.tiny import DIT, PLAIN, SIT
from zoo.errors import NumericError, RecipeError, WeightsError
from zoo.flow import sample
from zoo.flow.diffusion_solvers import DDIMSolver
from zoo.weights import (
    filled,
    from_published,
    read_checkpoint,
    write_initialised,
    write_published,
)
from zoo.weights.foreign import ForeignCheckpoint


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
    with pytest.raises(RecipeError, match="dim 8 is not divisible by heads 3"):
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
