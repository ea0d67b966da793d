"""Weights of files and runs, and runs that start from them."""

import json
import os
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, small, train
from zoo.errors import Preempted, RunError, WeightsError, ZooError
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import find_weights, open_weights
from zoo.train.run import Run, Silent
from zoo.weights import write_weights

STILL = "train.learning_rate=1e-30"
"""So that weights are after training what they were before."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "donor", "train.seed=5").path


@pytest.fixture
def file(run, registry, tmp_path):
    weights = open_weights(run, registry)
    write_weights(tmp_path / "w.safetensors", weights.tensors, weights.recipe)
    return tmp_path / "w.safetensors"


def started(path, init, *overrides, **options):
    return train(path, f"train.init={init}", STILL, "train.steps=2", *overrides, **options)


def tensors(folder, name="model"):
    (checkpoint,) = [each for each in folder.checkpoints.iterdir() if each.name == "step_00000002"]
    return load_file(checkpoint / f"{name}.safetensors")


@pytest.mark.parametrize("source", ["run", "file"])
@pytest.mark.parametrize("name", ["model", "ema"])
def test_a_run_starts_from_weights(request, source, name, run, tmp_path, registry):
    folder = started(tmp_path / "run", request.getfixturevalue(source))
    wanted = open_weights(run, registry).tensors
    trained = tensors(folder, name)
    assert trained.keys() == wanted.keys()
    for key, tensor in trained.items():
        torch.testing.assert_close(tensor, wanted[key], rtol=0, atol=1e-6)
    fresh = tensors(train(tmp_path / "fresh", STILL, "train.steps=2"))
    assert not torch.allclose(fresh["blocks.0.mlp.fc1.weight"], wanted["blocks.0.mlp.fc1.weight"], atol=1e-2)


def test_the_run_says_what_it_started_from(file, tmp_path):
    (begun,) = json.loads(started(tmp_path / "run", file).versions.read_text())
    assert begun["init"]["file"] == "w.safetensors"
    assert begun["init"]["weights_sha256"]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_all_processes_start_from_the_weights_that_one_of_them_chose(run, tmp_path, parallel, registry):
    overrides = (f"train.init={run}", STILL, "train.steps=1", f"train.parallel={parallel}")

    def work(world):
        folder = RunFolder(tmp_path / "two")
        Run(small(*overrides, registry=Registry()), folder, Registry(), world, Silent()).train()
        return None

    run_ranks(work, 2)
    wanted = open_weights(run, registry).tensors
    trained = open_weights(tmp_path / "two", registry, weights="raw").tensors
    for key, tensor in wanted.items():
        torch.testing.assert_close(trained[key], tensor, rtol=0, atol=1e-6)


def test_a_run_that_goes_on_does_not_start_again(file, tmp_path):
    whole = started(tmp_path / "whole", file, "train.checkpoint_every=1", "train.learning_rate=0.01")
    with pytest.raises(Preempted):
        started(tmp_path / "run", file, "train.checkpoint_every=1", "train.learning_rate=0.01", stop_at=1)
    file.unlink()
    goes_on = started(tmp_path / "run", file, "train.checkpoint_every=1", "train.learning_rate=0.01", resume=True)
    for key, tensor in tensors(whole).items():
        assert torch.equal(tensor, tensors(goes_on)[key]), key


def test_a_run_that_stopped_before_its_first_checkpoint_starts_from_them(file, run, tmp_path, registry):
    recipe = small(f"train.init={file}", STILL, "train.steps=2", registry=registry)
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.write(recipe)
    folder.unlock()
    Run(recipe, folder, registry, ALONE, Silent()).train(resume=True)
    wanted = open_weights(run, registry).tensors["blocks.0.mlp.fc1.weight"]
    torch.testing.assert_close(tensors(folder)["blocks.0.mlp.fc1.weight"], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("init", "made"),
    [
        ("other/run", ""),
        (
            "x.safetensors",
            "published weights become it by `zoo import CHECKPOINT --recipe DONOR --out donor.safetensors` and `zoo"
            " inflate donor.safetensors --recipe RECIPE --out x.safetensors`, DONOR being the checkpoint's recipe, such"
            " as sit_xl, and RECIPE the one to train; ",
        ),
    ],
)
def test_a_start_that_is_not_there_is_told_before_all_else(init, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError) as caught:
        started(tmp_path / "run", init, "data.dataset={type: latents, folder: neither}")
    assert str(caught.value) == (
        f"{tmp_path / init}: there is no such weight file or run; train.init of small starts from it;"
        f" {made.replace(f'--out {init}', f'--out {tmp_path / init}')}"
        "set train.init to null to start from fresh weights"
    )
    assert not (tmp_path / "run").exists()


def test_weights_of_another_backbone_are_refused_before_there_is_a_run(file, tmp_path):
    with pytest.raises(WeightsError, match="holds the weights of another backbone") as caught:
        started(tmp_path / "run", file, "backbone.class_conditioner.tokens=3")
    assert caught.value.problems == ("backbone.class_conditioner.tokens: 2 and 3",)
    assert not (tmp_path / "run").exists()


def test_averaged_and_last_weights_of_a_run(run, registry):
    averaged, last = (open_weights(run, registry, weights=which) for which in ("ema", "raw"))
    assert (averaged.source["weights"], last.source["weights"]) == ("ema", "raw")
    assert averaged.source["weights_sha256"] != last.source["weights_sha256"]
    assert averaged.recipe == last.recipe
    assert averaged.source["checkpoint"] == find_weights(run).where.split("/")[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_file_and_a_run_whose_names_are_no_text(file, run, tmp_path, registry):
    for given, copy, name in ((file, shutil.copy, b"\xff file"), (run, shutil.copytree, b"\xff run")):
        copy(given, there := tmp_path / os.fsdecode(name))
        assert open_weights(there, registry).tensors.keys() == open_weights(given, registry).tensors.keys()


def test_a_file_has_no_last_weights(file, registry):
    with pytest.raises(ZooError, match="a weight file holds one set of weights; only of a run can raw ones"):
        open_weights(file, registry, weights="raw")


def test_no_run_and_no_checkpoint(run, tmp_path, registry):
    with pytest.raises(WeightsError, match="x: there is no such weight file or run"):
        open_weights(tmp_path / "x", registry)
    with pytest.raises(
        RunError, match=r": holds no run \(no recipe.yaml, and no checkpoint\); give the folder .* or a weight file"
    ):
        open_weights(tmp_path, registry)
    begun = RunFolder(tmp_path / "begun")
    begun.create()
    recipe = open_weights(run, registry).recipe
    begun.write(recipe)
    with pytest.raises(RunError, match="begun: there is no sound checkpoint: none has been written yet"):
        open_weights(begun.path, registry)


def test_weights_that_there_are_not(run, registry):
    with pytest.raises(ValueError, match=r"weights: ema, raw, or one of several averages, .*, not 'last'"):
        open_weights(run, registry, weights="last")
