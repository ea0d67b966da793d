"""What training changes, through a checkpoint into another build: equal to the last bit, or refused."""

import pytest
import torch

from tests.train.small import ALONE, small
from zoo.assembly import build
from zoo.distributed.distributed import Distributed
from zoo.errors import RunError, ZooError
from zoo.flow import Objective, SquaredErrorLoss
from zoo.optim.adamw import AdamW
from zoo.optim.updates import Updates
from zoo.recipe.averages import Profile
from zoo.runs import checkpoint as checkpoints
from zoo.runs.state import TrainState, _not_finite, random_state, random_states, set_random_state

RATE = 0.01


def state_of(backbone, *averages):
    objective = Objective(backbone, [("squared_error", 1.0, SquaredErrorLoss())])
    return TrainState(objective, Updates(AdamW(weight_decay=0.1), objective, backbone.blocks, RATE), averages or (0.9,))


def fresh(registry, seed=0, *overrides):
    torch.manual_seed(seed)
    backbone = build(small(*overrides, registry=registry), registry=registry)
    return state_of(backbone)


def update(state, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in state.parameters.values():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    state.updates.step(RATE)
    state.average_in([0.5])


def trained(registry, seed=0, *overrides):
    state = fresh(registry, seed, *overrides)
    for step in range(3):
        update(state, 10 * seed + step)
    return state


def save(state, folder, change=lambda tensors: None):
    tensors = state.tensors(ALONE)
    change(tensors)
    return checkpoints.save(folder, 3, tensors, {"run": "one", "optimizer": state.plain()})


def everything(state):
    return {file: {name: each.clone() for name, each in own.items()} for file, own in state.tensors(ALONE).items()}


def differences(one, other):
    assert one.keys() == other.keys()
    found = []
    for file in one:
        assert one[file].keys() == other[file].keys()
        found += [f"{file}: {name}" for name in one[file] if not torch.equal(one[file][name], other[file][name])]
    return found


def test_another_build_becomes_the_same(registry, tmp_path):
    state, other = trained(registry), trained(registry, seed=1)
    assert len(differences(everything(state), everything(other))) > 10
    other.load(save(state, tmp_path))
    assert differences(everything(state), everything(other)) == []
    update(state, 7)
    update(other, 7)
    assert differences(everything(state), everything(other)) == []


def test_a_build_that_was_never_trained_becomes_the_same(registry, tmp_path):
    state, other = trained(registry), fresh(registry, seed=1)
    other.load(save(state, tmp_path))
    update(state, 7)
    update(other, 7)
    assert differences(everything(state), everything(other)) == []


def test_three_different_files_hold_all_of_it(registry):
    state = trained(registry)
    tensors = state.tensors(ALONE)
    assert set(tensors) == {"model", "ema", "optimizer"}
    assert tensors["model"].keys() == tensors["ema"].keys() == state.backbone.state_dict().keys()
    assert len(tensors["optimizer"]) == 3 * len(state.parameters)
    names = [name for name, each in state.backbone.named_parameters() if each.requires_grad]
    assert [name for name in names if not torch.equal(tensors["model"][name], tensors["ema"][name])] == names
    assert list(state.parameters) == [f"backbone.{name}" for name in names]
    assert {float(tensors["optimizer"][f"{name}/step"]) for name in state.parameters} == {3.0}


@pytest.mark.parametrize("file", ["ema", "optimizer"])
def test_what_is_not_loaded_would_be_noticed(file, registry, tmp_path):
    """What the round trip must catch: averages or moments that stay as they were."""
    state, other = trained(registry), trained(registry, seed=1)
    before = everything(other)[file]
    other.load(save(state, tmp_path, lambda tensors: tensors[file].update(before)))
    assert all(each.startswith(file) for each in differences(everything(state), everything(other)))
    assert differences(everything(state), everything(other))


@pytest.mark.parametrize(
    ("which", "place"), [("ema", 0), ("ema:0.50", 0), ("ema:1e-05", 1), ("ema:std=.1", 2)], ids=lambda each: str(each)
)
def test_an_average_is_found_by_its_name_the_first_one_too(registry, which, place):
    state = state_of(build(small(registry=registry), registry=registry), 0.5, 1e-5, Profile(std=0.1))
    for number, ema in enumerate(state.emas.values()):
        for each in ema.averages.values():
            each.fill_(number)
    weights = state.weights(which, ALONE)
    assert all((weights[name] == place).all() for name in state.emas["ema"].averages)
    with pytest.raises(ZooError, match=r"^there are no weights ema:0\.9; there are: raw, ema:0\.5, ema:1e-05, ema:std"):
        state.weights("ema:0.9", ALONE)


def test_averages_are_the_backbone_s_state(registry):
    state = trained(registry)
    average = state.weights("ema", ALONE)
    other = fresh(registry, seed=1)
    other.backbone.load_state_dict(average)
    for name, parameter in other.backbone.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, state.emas["ema"].averages[name])


def test_loading_shares_nothing_with_the_file(registry, tmp_path):
    state = trained(registry)
    saved = save(state, tmp_path)
    other = fresh(registry, seed=1)
    other.load(saved)
    update(other, 9)
    assert checkpoints.problem_of(saved.path) is None


FILES = ("model", "ema", "optimizer")


def first(tensors):
    return min(tensors, key=lambda name: (tensors[name].ndim == 0, name))


def drop(tensors):
    name = first(tensors)
    del tensors[name]
    return f"{name} is missing"


def add(tensors):
    tensors["blocks.9.extra"] = torch.ones(2)
    return "blocks.9.extra is unknown"


def reshape(tensors):
    name = first(tensors)
    shape = list(tensors[name].shape)
    tensors[name] = torch.zeros(3, *shape)
    return f"{name} has shape {[3, *shape]} in place of {shape}"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", [drop, add, reshape])
def test_other_tensors_are_refused(file, change, registry, tmp_path):
    told = []
    saved = save(trained(registry), tmp_path, lambda tensors: told.append(change(tensors[file])))
    with pytest.raises(RunError) as caught:
        trained(registry).load(saved)
    assert str(caught.value) == f"{saved.path}: {file}.safetensors does not fit this recipe: {told[0]}"
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_not_there_is_refused(file, registry, tmp_path):
    saved = save(trained(registry), tmp_path, lambda tensors: tensors.pop(file))
    with pytest.raises(RunError, match=f"holds no {file}.safetensors"):
        trained(registry).load(saved)


def test_an_optimizer_without_moments_is_refused(registry, tmp_path):
    """It would start anew without a word, and the run be another."""
    saved = save(trained(registry), tmp_path, lambda tensors: tensors["optimizer"].clear())
    with pytest.raises(RunError, match=r"optimizer\.safetensors does not fit this recipe: .* is missing; ") as caught:
        trained(registry).load(saved)
    assert str(caught.value).count(" is missing") == 5  # of many


def test_a_checkpoint_of_another_width_is_refused(registry, tmp_path):
    saved = save(trained(registry), tmp_path)
    with pytest.raises(RunError, match=r"model\.safetensors does not fit this recipe: .* has shape"):
        trained(registry, 0, "backbone.dim=32").load(saved)


def test_frozen_parameters_are_neither_averaged_nor_moved(registry):
    torch.manual_seed(0)
    backbone = build(small(registry=registry), registry=registry)
    name, frozen = next(iter(backbone.named_parameters()))
    frozen.requires_grad_(False)
    state = state_of(backbone)
    assert f"backbone.{name}" not in state.parameters
    assert name not in state.emas["ema"].averages
    update(state, 0)
    tensors = state.tensors(ALONE)
    assert torch.equal(tensors["ema"][name], tensors["model"][name])


def test_random_states_are_taken_up_where_they_were():
    torch.manual_seed(5)
    states = random_states(random_state(ALONE.device), ALONE)
    expected = torch.rand(4)
    torch.manual_seed(6)
    set_random_state(states, ALONE)
    assert torch.equal(torch.rand(4), expected)


def test_a_rank_that_had_no_state_keeps_its_own():
    states = random_states(random_state(ALONE.device), ALONE)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    set_random_state(states, Distributed(1, 2, torch.device("cpu")))
    assert torch.equal(torch.get_rng_state(), before)


def test_tables_that_are_infinite_by_design_may_be_saved_and_others_must_stay_finite(registry):
    torch.manual_seed(0)
    backbone = build(small(registry=registry), registry=registry)
    backbone.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    backbone.register_buffer("table", torch.tensor([0.0, 1.0]))
    backbone.register_buffer("empty", torch.empty(0))
    state = state_of(backbone)
    assert state.not_finite(ALONE) == []
    backbone.table[1] = torch.nan
    assert state.not_finite(ALONE) == ["model/table"]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64])
@pytest.mark.parametrize("place", [0, 500, -1])
def test_one_number_of_any_kind_that_is_not_finite_is_found(bad, dtype, place):
    values = torch.linspace(-3, 3, 999).to(dtype)
    values[place] = bad
    assert _not_finite({"good": torch.ones(7, dtype=dtype), "bad": values, "one": torch.tensor(2.0, dtype=dtype)}) == {
        "good": False,
        "bad": True,
        "one": False,
    }


def test_a_weight_that_is_trained_is_never_infinite_by_design(registry):
    backbone = build(small(registry=registry), registry=registry)
    name, weight = next(iter(backbone.named_parameters()))
    weight.data.view(-1)[0] = torch.nan
    assert f"model/{name}" in state_of(backbone).not_finite(ALONE)
