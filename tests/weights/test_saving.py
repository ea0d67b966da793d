"""``zoo.save``: what a loop of one's own has, as a file that ``zoo.load`` and every command reads."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DataParallel
from torch.optim.swa_utils import AveragedModel

import zoo
from tests.train.small import small
from zoo.assembly import build
from zoo.classes import Classes
from zoo.errors import NumericError, WeightsError
from zoo.weights import read_weights, recorded_classes, write_weights


@pytest.fixture
def backbone():
    return build(small())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.safetensors"


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_saved_is_loaded_with_its_recipe(backbone, path, registry):
    zoo.save(backbone, path)
    loaded = zoo.load(path, registry=registry)
    assert loaded.recipe == backbone.recipe
    assert same(loaded.state_dict(), backbone.state_dict())


def test_the_file_is_the_one_that_commands_write(backbone, path, tmp_path):
    zoo.save(backbone, path)
    write_weights(tmp_path / "other.safetensors", backbone.state_dict(), backbone.recipe)
    assert path.read_bytes() == (tmp_path / "other.safetensors").read_bytes()


def test_the_names_of_classes_go_with_the_weights(backbone, path, registry):
    zoo.save(backbone, path, classes=["cat", "dog"])
    assert read_weights(path, registry).classes == Classes(("cat", "dog"))
    assert recorded_classes(path) == Classes(("cat", "dog"))


def test_a_file_of_that_name_is_replaced(backbone, path):
    path.write_text("old")
    zoo.save(backbone, str(path))
    assert same(load_file(path), backbone.state_dict())


@pytest.mark.parametrize(
    "wrapped",
    [AveragedModel, DataParallel, torch.compile, lambda each: AveragedModel(torch.compile(each))],
    ids=["averaged", "parallel", "compiled", "both"],
)
def test_what_pytorch_puts_around_it_is_left_out(backbone, path, wrapped):
    zoo.save(wrapped(backbone), path)
    assert same(load_file(path), backbone.state_dict())


def test_a_moving_average_is_saved_by_its_state(backbone, path):
    average = AveragedModel(torch.compile(backbone), multi_avg_fn=lambda old, new, count: torch._foreach_zero_(old))
    average.update_parameters(backbone)
    average.update_parameters(backbone)
    zoo.save(backbone, path, state=average.state_dict())
    saved = load_file(path)
    assert saved.keys() == backbone.state_dict().keys()
    assert not saved["blocks.0.mlp.fc1.weight"].any()
    assert backbone.blocks[0].mlp.fc1.weight.any()


def test_wrappers_around_wrappers_are_left_out_of_a_state(backbone, path):
    state = AveragedModel(DataParallel(torch.compile(backbone))).state_dict()
    assert "module.module._orig_mod.blocks.0.mlp.fc1.weight" in state
    zoo.save(backbone, path, state=state)
    assert same(load_file(path), backbone.state_dict())
    zoo.save(backbone, path, state=DataParallel(AveragedModel(backbone)).state_dict())
    assert same(load_file(path), backbone.state_dict())
    with pytest.raises(WeightsError, match=r"holds these keys twice, with and without a prefix: blocks\.0\.mlp"):
        zoo.save(backbone, path, state={**backbone.state_dict(), "module.blocks.0.mlp.fc1.bias": torch.zeros(1)})


def test_state_that_does_not_fit_is_told_and_nothing_is_written(backbone, path):
    state = backbone.state_dict()
    del state["blocks.0.mlp.fc1.bias"]
    with pytest.raises(WeightsError, match="not written, since it is not what small builds") as caught:
        zoo.save(backbone, path, state={**state, "lora": torch.zeros(1)})
    assert caught.value.problems == ("blocks.0.mlp.fc1.bias is missing", "lora is unexpected")
    with pytest.raises(WeightsError) as caught:
        zoo.save(backbone, path, state={})
    assert len(caught.value.problems) == 11
    assert caught.value.problems[-1] == f"and {len(backbone.state_dict()) - 10} more"
    assert not path.exists()


def test_a_backbone_that_is_not_what_its_recipe_builds_any_more(backbone, path):
    class Mine(nn.Module):
        pass

    backbone.blocks[0].mlp = Mine()
    backbone.prediction = "noise"
    with pytest.raises(WeightsError, match="not written, since it is not what small builds") as caught:
        zoo.save(backbone, path)
    told = caught.value.problems
    assert told[0].startswith("blocks.0.mlp is a ")
    assert ".Mine in place of a GELUMLP" in told[0]
    assert told[1] == "prediction is 'noise' in place of 'velocity'"
    assert not path.exists()


def test_what_has_no_values_here(path):
    with pytest.raises(WeightsError, match=r"not written: .* has no values; it is on the meta device"):
        zoo.save(build(small(), device="meta"), path)


def test_weights_that_loading_would_refuse(backbone, path):
    with torch.no_grad():
        backbone.blocks[0].mlp.fc1.bias[0] = torch.nan
    with pytest.raises(NumericError, match=r"1 of \d+ tensors hold values that are not finite: blocks.0.mlp.fc1.bias"):
        zoo.save(backbone, path)


@pytest.mark.parametrize("other", [nn.Linear(1, 1), {"a": torch.zeros(1)}], ids=["module", "state"])
def test_what_is_no_backbone(path, other):
    with pytest.raises(ValueError, match=r"is no backbone of zoo's; give what zoo.build or zoo.load returned"):
        zoo.save(other, path)


def test_a_backbone_that_was_put_together_by_hand(backbone, path):
    backbone.recipe = None
    with pytest.raises(ValueError, match="put together by hand and knows no recipe"):
        zoo.save(backbone, path)


def test_a_name_of_another_kind(backbone, tmp_path):
    with pytest.raises(WeightsError, match=r"w\.pt: let the name end in \.safetensors"):
        zoo.save(backbone, tmp_path / "w.pt")
