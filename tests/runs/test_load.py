"""Loading zoo's weight files: the same backbone in one call, or one clear refusal."""

import json
import struct
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.train.small import train
from tests.weights.small import BY_DEPTH, SIZE, inputs, random_weights, small
from zoo.errors import NumericError, PluginError, RunError, WeightsError
from zoo.parts.blocks import DiTBlock
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.runs.weights import load, open_weights
from zoo.weights import files, read_weights, write_weights
from zoo.weights.state import backbone_fingerprint


@pytest.fixture
def weights(registry):
    return random_weights(small(registry), registry)


@pytest.fixture
def path(weights, registry, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, weights.tensors, weights.recipe, source={"file": "a.pt"}, seed=3)
    return path


def rewritten(path, tensors=None, **metadata):
    """The file with other tensors or metadata, as other tools would write it."""
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    kept = {key: value for key, value in {**header["__metadata__"], **metadata}.items() if value is not None}
    save_file(tensors or load_file(path), path, metadata=kept)


def test_a_file_is_loaded_in_one_call(path, weights, registry):
    backbone = load(path, registry=registry)
    assert not backbone.training
    assert backbone.state_dict().keys() == weights.tensors.keys()
    assert all(torch.equal(tensor, weights.tensors[name]) for name, tensor in backbone.state_dict().items())
    latents, labels = inputs(weights.recipe)
    assert backbone(latents, torch.rand(4), labels).shape == latents.shape
    assert zoo.load is load


def test_the_backbone_does_not_hang_on_the_file(path, registry):
    backbone = load(path, registry=registry)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    path.write_bytes(b"")
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_metadata_says_where_weights_are_from(path, weights, registry):
    found = read_weights(path, registry)
    assert found.recipe == weights.recipe
    assert found.source["file"] == "w.safetensors"
    assert (found.source["source"], found.source["seed"]) == ({"file": "a.pt"}, 3)
    assert len(found.source["weights_sha256"]) == 64


def test_the_dtype_is_the_files_or_as_asked(registry, tmp_path):
    weights = random_weights(small(registry), registry, dtype=torch.bfloat16)
    path = tmp_path / "w.safetensors"
    write_weights(path, weights.tensors, weights.recipe)
    assert {each.dtype for each in load(path, registry=registry).state_dict().values()} == {torch.bfloat16}
    assert next(load(path, registry=registry, dtype=torch.float64).parameters()).dtype == torch.float64


def test_the_device_is_as_asked(path, registry):
    with torch.device("meta"):
        assert next(load(path, registry=registry, device="cpu").parameters()).device.type == "cpu"


def test_no_random_number_is_drawn(path, registry):
    before = torch.random.get_rng_state()
    load(path, registry=registry)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_recipe_of_the_same_backbone_is_taken(path, registry):
    values = {"name": "other", "backbone": {**SIZE, "patch_schedule": {"type": "uniform", "patch": 2}}}
    assert load(path, values | {"train": {"batch": 8}}, registry=registry)
    assert load(
        path, values | {"backbone": {**values["backbone"], "depth": 9}}, ["backbone.depth=4"], registry=registry
    )


def test_a_recipe_of_another_backbone_is_refused_with_a_diff(path, registry):
    other = small(registry, "backbone.depth=5", name="deeper", modulation="shared_adaln")
    with pytest.raises(
        WeightsError,
        match=r"w\.safetensors: holds the weights of another backbone \(fingerprint \w{12}\) than deeper's \(\w{12}\);"
        " the file's values, and the recipe's",
    ) as caught:
        load(path, other, registry=registry)
    assert caught.value.problems == (
        "backbone.depth: 4 and 5",
        'backbone.modulation.type: "adaln_zero" and "shared_adaln"',
    )
    assert caught.value.exit_code == 3


def test_weights_of_another_path_are_refused_in_one_line(path, registry):
    other = small(registry, "objective.path=vp")
    with pytest.raises(WeightsError) as caught:
        load(path, other, registry=registry)
    assert str(caught.value) == (
        f'{path}: its weights have learned the path {{"type": "linear"}}, and small has {{"type": "vp"}}: their noise'
        " levels mean something else; set objective.path to the same"
    )


def test_the_fingerprint_is_the_backbones_alone(registry):
    one = backbone_fingerprint(small(registry))
    assert one == backbone_fingerprint(small(registry, "train.batch=8", name="other"))
    assert one != backbone_fingerprint(small(registry, schedule=BY_DEPTH))


def test_the_fingerprint_is_in_the_metadata(path, weights):
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    assert header["__metadata__"]["fingerprint"] == backbone_fingerprint(weights.recipe)


def test_a_flipped_bit_is_noticed(path, registry):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="its tensors are not what zoo wrote: their SHA-256 differs; copy the file"):
        load(path, registry=registry)


def test_tensors_changed_on_purpose_are_taken_without_the_hash(path, registry):
    tensors = {name: tensor + 1 for name, tensor in load_file(path).items()}
    rewritten(path, tensors, sha256=None)
    assert load(path, registry=registry)


@pytest.mark.parametrize("size", [0, 5, 100, 3000, -1])
def test_a_file_that_is_cut_off(path, registry, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError, match=r"w\.safetensors: is no safetensors file, damaged or cut off: "):
        load(path, registry=registry)


def test_no_file_and_no_run(tmp_path, registry):
    with pytest.raises(WeightsError, match="x: there is no such weight file or run"):
        load(tmp_path / "x", registry=registry)
    with pytest.raises(RunError, match=r"holds no run .* give the folder that `zoo train` made, or a weight file"):
        load(tmp_path, registry=registry)


def test_a_run_is_loaded_as_a_file_is(tmp_path, registry):
    run = train(tmp_path / "run").path
    with pytest.raises(RunError, match=rf"holds no run, but is of one; give that run, {run}$"):
        load(run / "checkpoints/step_00000002", registry=registry)
    with pytest.raises(WeightsError, match=rf"holds no recipe, but is of a run; give that run, {run}$"):
        load(next(run.glob("checkpoints/*/ema.safetensors")), registry=registry)
    averaged, last = load(run, registry=registry), load(run, registry=registry, weights="raw")
    wanted = open_weights(run, registry).tensors
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in averaged.state_dict().items())
    assert not torch.equal(averaged.blocks[0].mlp.fc1.weight, last.blocks[0].mlp.fc1.weight)


def test_a_file_without_recipe(path, registry):
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="holds no recipe, so it is none of zoo's weight files; `zoo import` reads"):
        load(path, registry=registry)


def test_a_recipe_that_was_changed_is_noticed(path, weights, registry):
    values = weights.recipe.resolved()
    values["backbone"]["time_embedder"]["clock"] = "data"
    rewritten(path, recipe=json.dumps(values))
    with pytest.raises(WeightsError, match="the recipe in its metadata is not what zoo wrote: the backbone's fingerpr"):
        load(path, registry=registry)


def test_a_recipe_of_another_kind_is_noticed(path, registry):
    rewritten(path, recipe="[1]")
    with pytest.raises(WeightsError, match="'recipe' in its metadata is not what zoo wrote: no mapping"):
        load(path, registry=registry)


def test_whole_numbers_are_no_weights(path, registry):
    tensors = load_file(path)
    rewritten(path, tensors | {"blocks.0.mlp.fc1.bias": tensors["blocks.0.mlp.fc1.bias"].int()}, sha256=None)
    with pytest.raises(WeightsError) as caught:
        load(path, registry=registry)
    assert caught.value.problems == ("blocks.0.mlp.fc1.bias is of torch.int32 in place of torch.float32",)


def test_values_that_are_not_finite_are_told(path, registry):
    tensors = load_file(path)
    tensors["blocks.0.mlp.fc1.bias"][0] = torch.nan
    rewritten(path, tensors, sha256=None)
    with pytest.raises(NumericError, match=r"1 of \d+ tensors hold values that are not finite: blocks.0.mlp.fc1.bias;"):
        load(path, registry=registry)


def test_overrides_without_a_recipe_say_nothing(path, registry):
    with pytest.raises(ValueError, match="overrides: of a recipe, and none is given"):
        load(path, overrides=["backbone.depth=3"], registry=registry)


def test_a_checkpoint_that_is_passed_over_is_told(tmp_path, registry):
    run = train(tmp_path / "run").path
    newest = run / "checkpoints" / "step_00000003"
    (newest / "ema.safetensors").write_bytes(b"")
    with pytest.warns(
        UserWarning, match="step_00000003: ema.safetensors has 0 bytes in place of .* step_00000002 is taken"
    ):
        load(run, registry=registry)


@pytest.mark.parametrize("key", ["recipe", "source"])
def test_metadata_that_is_no_json(path, registry, key):
    rewritten(path, sha256=None, **{key: "{"})
    with pytest.raises(WeightsError, match=f"'{key}' in its metadata is not what zoo wrote"):
        load(path, registry=registry)


def test_a_plug_in_that_is_missing_is_named(tmp_path, registry):
    theirs = part("block", "theirs")(type("Theirs", (DiTBlock,), {"__doc__": "As DiT's."}))
    own = Registry()
    own.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [theirs])), Plugin("tests", "1.2"))
    weights = random_weights(small(own, block="theirs"), own)
    write_weights(tmp_path / "w.safetensors", weights.tensors, weights.recipe)
    with pytest.raises(
        PluginError, match=r"w.safetensors: block 'theirs' comes from tests 1\.2.*pip install tests==1\.2"
    ):
        load(tmp_path / "w.safetensors", registry=registry)


def test_tensors_that_do_not_fit_the_files_own_recipe_are_all_told(path, registry):
    tensors = load_file(path)
    del tensors["blocks.0.mlp.fc1.bias"]
    tensors["heads.2x2.proj.bias"] = torch.zeros(3)
    tensors["extra"] = torch.zeros(3)
    rewritten(path, tensors, sha256=None)
    with pytest.raises(WeightsError, match=r"w\.safetensors: does not fit its own recipe, small") as caught:
        load(path, registry=registry)
    assert sorted(caught.value.problems) == [
        "blocks.0.mlp.fc1.bias is missing",
        "extra is unexpected",
        "heads.2x2.proj.bias has shape [3] in place of [12]",
    ]


def test_tensors_that_share_memory_are_written_twice(registry, tmp_path, weights):
    weights.tensors["blocks.0.mlp.fc1.bias"] = weights.tensors["blocks.1.mlp.fc1.bias"]
    write_weights(tmp_path / "w.safetensors", weights.tensors, weights.recipe)
    backbone = load(tmp_path / "w.safetensors", registry=registry)
    assert torch.equal(backbone.blocks[0].mlp.fc1.bias, weights.tensors["blocks.1.mlp.fc1.bias"])


def test_a_recipe_that_cannot_be_built_here(path, registry):
    values = files.recorded_recipe(path).tree.plain()
    values["train"]["batch"] = "many"
    rewritten(path, recipe=json.dumps(values))
    with pytest.raises(WeightsError, match=r"w\.safetensors: its recipe cannot be built here") as caught:
        load(path, registry=registry)
    assert caught.value.problems == ('recipe: train.batch: should be a whole number, got "many"',)


def test_a_pickle_is_no_weight_file(tmp_path, registry):
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"x\.pt: is a pickle; `zoo import` makes a weight file of a published one"):
        load(tmp_path / "x.pt", registry=registry)
