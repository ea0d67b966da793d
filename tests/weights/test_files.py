"""Weight files of zoo's own: deterministic, with the recipe, and never over another file."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from zoo.assembly import build, load_recipe
from zoo.errors import WeightsError, ZooError
from zoo.weights import refuse_existing, state, write_initialised

VALUES = {
    "backbone": {
        "latent": {"channels": 4, "height": 8, "width": 8},
        "num_classes": 10,
        "dim": 32,
        "depth": 2,
        "heads": 2,
        "patch_schedule": {"type": "uniform", "patch": 2},
    }
}


@pytest.fixture
def recipe(registry):
    return load_recipe({"name": "größe", **VALUES}, (), registry)


def test_the_weights_are_those_of_a_build_with_the_seed(recipe, registry, tmp_path):
    write_initialised(recipe, tmp_path / "w.safetensors", 3)
    torch.manual_seed(3)
    expected = build(recipe, registry=registry).state_dict()
    loaded = load_file(tmp_path / "w.safetensors")
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_the_metadata_holds_the_recipe_the_plug_ins_and_the_seed(recipe, registry, tmp_path):
    write_initialised(recipe, tmp_path / "w.safetensors", 3)
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["recipe"]) == recipe.resolved()
    assert load_recipe(json.loads(metadata["recipe"]), (), registry) == recipe
    assert json.loads(metadata["versions"])["packages"].keys() == {"zoo", "torch"}
    assert (metadata["seed"], metadata["format"]) == ("3", "pt")


def test_the_same_seed_gives_the_same_bytes(recipe, registry, tmp_path):
    files = [tmp_path / f"{index}.safetensors" for index in range(6)]
    for file in files[:5]:  # safetensors shuffles four entries of metadata in one of 24 ways
        write_initialised(recipe, file, 0)
    write_initialised(recipe, files[5], 1)
    assert len({file.read_bytes() for file in files[:5]}) == 1
    assert files[5].read_bytes() != files[0].read_bytes()


def test_the_callers_random_state_is_left_alone(recipe, registry, tmp_path):
    before = torch.random.get_rng_state()
    write_initialised(recipe, tmp_path / "w.safetensors", 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_cannot_be_written_is_an_error_of_its_own(recipe, registry, tmp_path):
    with pytest.raises(WeightsError, match=r"w\.safetensors: cannot be written: ") as caught:
        write_initialised(recipe, tmp_path / "missing" / "w.safetensors", 0)
    assert caught.value.exit_code == 3


def test_refuses_a_file_or_folder_that_exists_and_a_folder_that_does_not(tmp_path):
    (tmp_path / "w.safetensors").touch()
    for path in (tmp_path / "w.safetensors", tmp_path):
        with pytest.raises(
            ZooError, match="exists already, and is left as it is; choose another name, or remove it first"
        ):
            refuse_existing(path)
    with pytest.raises(ZooError, match="its folder does not exist; make it first"):
        refuse_existing(tmp_path / "missing" / "w.safetensors")
    refuse_existing(tmp_path / "new.safetensors")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ZooError, match="link: exists already"):
        refuse_existing(tmp_path / "link")


def test_others_may_read_what_the_umask_lets_them(recipe, registry, tmp_path):
    mask = os.umask(0o027)
    try:
        write_initialised(recipe, tmp_path / "w.safetensors", 0)
    finally:
        os.umask(mask)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_nothing_half_written(recipe, registry, tmp_path, monkeypatch):
    def full(*_):
        yield b"half"
        raise OSError("No space left on device")

    monkeypatch.setattr("zoo.tensor_bytes.pieces", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        write_initialised(recipe, tmp_path / "w.safetensors", 0)
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_fit_into_memory(recipe, registry, tmp_path, monkeypatch):
    def build_too_much(*arguments, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(state, "build", build_too_much)
    with pytest.raises(WeightsError, match=r"the weights cannot be made: .*; take a smaller assembly"):
        write_initialised(recipe, tmp_path / "w.safetensors", 0)
