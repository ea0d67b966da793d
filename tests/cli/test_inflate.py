"""``zoo inflate``: a weight file or run in, a weight file out; and every refusal with nothing left behind."""

import json
from pathlib import Path

import pytest
import torch

import zoo as package
from tests.commands import zoo
from tests.weights.small import BY_DEPTH, BY_TIMESTEP, SIZE, random_weights, small
from zoo.weights import read_weights, write_weights


def recipe(name, schedule, **parts):
    values = {"backbone": {**SIZE, "patch_schedule": schedule, "upsampler": "linear", **parts}}
    Path(f"{name}.yaml").write_text(json.dumps(values))


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    donor = random_weights(small(registry, name="donor", upsampler="linear"), registry)
    write_weights(Path("donor.safetensors"), donor.tensors, donor.recipe)
    recipe("stages", BY_TIMESTEP, stage_embedder="learned")
    recipe("levels", BY_DEPTH, upsampler="linear_linear")


def inflate(*arguments, target="stages", donor="donor.safetensors", out="out.safetensors"):
    return zoo("inflate", donor, "--recipe", f"{target}.yaml", "--out", out, *arguments)


def refused(result, exit_code):
    assert result.exit_code == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("out.safetensors").exists()
    assert not list(Path().glob(".*"))
    return result.stderr


def test_a_backbone_starts_from_another():
    result = inflate()
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == ["wrote out.safetensors (0.1 MB)"]
    donor, target = package.load("donor.safetensors"), package.load("out.safetensors", "stages.yaml")
    latents, t, labels = torch.randn(2, 3, 16, 32), torch.tensor([0.1, 0.2]), torch.tensor([0, 5])
    assert torch.equal(donor(latents, t, labels), target(latents, t, labels))


def test_what_is_new_needs_leave_and_is_told():
    new = (
        "upsampler linear_linear: newly initialised: upsamplers.4x4_to_2x2.proj.weight,"
        " upsamplers.4x4_to_2x2.proj.bias, upsamplers.4x4_to_2x2.refine.weight,"
        " upsamplers.4x4_to_2x2.refine.bias"
    )
    told = refused(inflate(target="levels"), 3).splitlines()
    hint = "error: donor.safetensors: does not fill all of levels; --allow-new starts it all the same:"
    assert told == [hint, f"  {new}"]
    result = inflate("--allow-new", "--seed", 3, target="levels")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == f"note: {new}"


def test_what_is_new_depends_on_the_seed_alone():
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert inflate("--allow-new", "--seed", seed, target="levels", out=f"{name}.safetensors").exit_code == 0
    a, b, c = (Path(f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_the_file_says_what_it_started_from(registry):
    inflate("--average", "patches")
    source = read_weights(Path("out.safetensors"), registry).source["source"]
    assert (source["file"], source["recipe"], source["average"], source["new"]) == (
        "donor.safetensors",
        "donor",
        "patches",
        {},
    )


def test_the_readings_of_averaging_differ():
    inflate("--average", "pixels")
    inflate("--average", "patches", out="patches.safetensors")
    one, other = (package.load(name).state_dict() for name in ("out.safetensors", "patches.safetensors"))
    key = "patch_embedders.4x4.proj.weight"
    assert not torch.equal(one[key], other[key])


def test_overrides_are_of_the_target():
    told = refused(inflate("--set", "backbone.dim=32"), 3)
    assert told.splitlines() == [
        "error: donor: cannot be the donor of stages:",
        "  backbone.dim: 16 in the donor, 32 in the target; they must be the same",
    ]


def test_a_file_that_exists_is_left_alone():
    Path("out.safetensors").write_text("mine")
    result = inflate()
    assert result.exit_code == 2
    assert "out.safetensors: exists already, and is left as it is" in result.stderr
    assert Path("out.safetensors").read_text() == "mine"
