"""Several processes train as one does: all kinds of assemblies, two steps on two gloo processes and on one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from allpairspy import AllPairs
from torch import Tensor

from tests.distributed.ranks import alone, run_ranks
from tests.train.small import SIZE
from zoo.assembly import build, load_recipe
from zoo.data.stream import Reader
from zoo.distributed.distributed import Distributed, join_processes
from zoo.errors import DataError, FaultError, NumericError, RunError, ZooError
from zoo.flow import objective_of
from zoo.kinds import BACKBONE_KINDS
from zoo.registry import Registry
from zoo.shards import whole
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

REGISTRY = Registry()

SCHEDULES: dict[str, dict[str, Any]] = {
    "uniform": {"patch": 2},
    "by_depth": {"levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]},
    "by_timestep": {"stages": [{"noise_above": 0.5, "patch": 4}, {"noise_above": 0.0, "patch": 2}]},
    "by_depth_and_timestep": {
        "stages": [
            {"noise_above": 0.5, "levels": [{"patch": 8, "blocks": 1}, {"patch": 4, "blocks": 1}]},
            {"noise_above": 0.25, "levels": [{"patch": [4, 4], "blocks": 2}]},
            {"noise_above": 0.0, "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]},
        ]
    },
}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "position": [{"coordinates": "finest"}, {"coordinates": "own"}],
    "time_embedder": [{"type": "sinusoidal", "clock": "data"}],
    "class_conditioner": [{"type": "class_tokens", "tokens": 3}],
    "head": [{"learn_sigma": True}],
    "router": [{"type": "tread", "first": 0, "stop": 1}],
}
"""Choices beside each part with its defaults."""

ELSEWHERE = {
    *(("modulation", "none"), ("modulation", "in_context")),  # for blocks that take no vectors
    *(("skip", "kept_add"), ("skip", "kept_concat")),  # for levels that come back to a patch
    ("router", "tread"),  # which has no defaults
    ("class_conditioner", "attributes"),  # for labels that digits have not
}
"""Parts that do not go with all of these schedules and blocks."""


DTYPES = [torch.float64, torch.float32]


def choices() -> dict[str, list[Any]]:
    """Every factor of the covering array: every part of every kind, and every way to compute."""
    factors: dict[str, list[Any]] = {}
    for kind in BACKBONE_KINDS:
        if kind == "patch_schedule":
            factors[kind] = [{"type": name, **SCHEDULES[name]} for name in names(kind)]
        else:
            plain = [{"type": name} for name in names(kind) if (kind, name) not in ELSEWHERE]
            factors[kind] = plain + OPTIONS.get(kind, [])
    return {
        **factors,
        "noise_sampler": names("noise_sampler"),
        "weighting": names("weighting"),
        "accumulate": [1, 2],
        "checkpoint_activations": [False, True],
        "parallel": ["ddp", "fsdp"],
        "dtype": DTYPES,
    }


def names(kind: str) -> list[str]:
    return [entry.name for entry in REGISTRY.entries(kind)]


def recipes() -> list[tuple[dict[str, Any], torch.dtype]]:
    """Recipes, each with a precision, among which every two choices meet."""
    factors = choices()
    found = []
    for row in AllPairs(list(factors.values())):
        chosen = dict(zip(factors, row, strict=True))
        train = {key: chosen.pop(key) for key in ("accumulate", "checkpoint_activations", "parallel")}
        objective = {key: chosen.pop(key) for key in ("noise_sampler", "weighting")}
        dtype = chosen.pop("dtype")
        found.append((recipe(chosen, train, objective), dtype))
    return found


def recipe(
    backbone: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "name": "small",
        "backbone": {
            **SIZE,
            "patch_schedule": {"type": "by_depth_and_timestep", **SCHEDULES["by_depth_and_timestep"]},
            **(backbone or {}),
        },
        "objective": objective or {},
        "train": {"steps": 2, "batch": 32, "learning_rate": 1e-3, **(train or {})},
    }


def train_in_each(world: Distributed, values: dict[str, Any], dtypes: Sequence[torch.dtype]) -> list[dict[str, Any]]:
    return [train(world, values, dtype) for dtype in dtypes]


def train(world: Distributed, values: dict[str, Any], dtype: torch.dtype, steps: int = 2) -> dict[str, Any]:
    """Gradients of the first step, weights after the last, and the losses."""
    recipe = load_recipe(values, registry=REGISTRY)
    torch.manual_seed(0)
    backbone = build(recipe, registry=REGISTRY, dtype=dtype)
    with torch.no_grad():  # gates and heads start at zero, behind which nothing could be seen
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    objective = objective_of(recipe, backbone)
    job = open_job(recipe, objective, REGISTRY, world.rank, world.size)
    trainer = Trainer(job, objective, world)
    losses = [step.loss for step in trainer.run(1)]
    parameters = trainer.state.parameters
    gradients = {name: whole(each.grad).clone() for name, each in parameters.items() if each.grad is not None}
    losses += [step.loss for step in trainer.run(steps)]
    weights = {name: whole(each.detach()).clone() for name, each in parameters.items()}
    averages = {name: whole(each.detach()).clone() for name, each in trainer.state.emas["ema"].averages.items()}
    return {"losses": losses, "gradients": gradients, "weights": weights, "averages": averages}


def furthest(some: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    assert some.keys() == others.keys()
    return max(float((some[name] - others[name]).abs().max()) for name in some)


RECIPES = recipes()
FAMILIES = ("dit_b", "sit_b", "mpdit_b", "mpdit_xl_512_three_level", "ppflow_b_2", "ppflow_b_3", "hybrid_b")


@pytest.mark.parametrize("index", range(len(RECIPES)))
def test_two_processes_train_as_one(index: int) -> None:
    values, dtype = RECIPES[index]
    check_two_are_one(values, [dtype])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_on_two_processes_as_on_one(family: str) -> None:
    small = ["backbone.dim=16", "backbone.heads=2", "backbone.latent={channels: 1, height: 16, width: 16}"]
    data = ["backbone.num_classes=10", "data={dataset: digits, normalize: none, workers: 0}"]
    train = ["train={steps: 2, batch: 16, precision: float32}", "sample.guidance.channels="]
    check_two_are_one(load_recipe(family, [*small, *data, *train], REGISTRY).resolved(), DTYPES)


def check_two_are_one(values: dict[str, Any], dtypes: Sequence[torch.dtype]) -> None:
    plain = {**values, "train": {**values["train"], "parallel": "ddp"}}
    fsdp = values["train"]["parallel"] == "fsdp"
    on_one, on_two = alone(train_in_each, plain, dtypes), run_ranks(train_in_each, 2, values, dtypes, group=fsdp)
    for each in on_two:
        assert isinstance(each, list), each
    for dtype, one, *two in zip(dtypes, on_one, *on_two, strict=True):
        assert all(torch.tensor(each["losses"]).isfinite().all() for each in (one, *two))
        for key in ("weights", "averages", "gradients"):
            assert furthest(two[0][key], two[1][key]) == 0.0, "the processes' weights are not the same bit by bit"
        if dtype == torch.float64:
            assert furthest(one["weights"], two[0]["weights"]) <= 1e-10
        else:
            largest = max(float(each.abs().max()) for each in one["gradients"].values())
            assert furthest(one["gradients"], two[0]["gradients"]) <= 1e-5 * largest
        assert two[0]["losses"] == pytest.approx(one["losses"], rel=1e-5)
        assert two[0]["losses"] == two[1]["losses"]


def test_the_recipes_cover_every_pair_of_choices() -> None:
    assert 20 <= len(RECIPES) <= 60
    schedules = {values["backbone"]["patch_schedule"]["type"] for values, _ in RECIPES}
    assert schedules == set(names("patch_schedule"))
    uppers = {(each["backbone"]["upsampler"]["type"], each["train"]["parallel"]) for each, _ in RECIPES}
    assert uppers == {(name, parallel) for name in names("upsampler") for parallel in ("ddp", "fsdp")}


def test_the_check_catches_gradients_that_are_not_averaged() -> None:
    one, two = alone(train, recipe(), torch.float64), run_ranks(train_apart, 2, recipe())
    assert furthest(two[0]["weights"], two[1]["weights"]) > 1e-6
    assert furthest(one["weights"], two[0]["weights"]) > 1e-6


def train_apart(world: Distributed, values: dict[str, Any]) -> dict[str, Any]:
    """Training in which no process hears of the others' gradients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_gradients_stay_here", lambda self, wanted: self.model.no_sync())
        return train(world, values, torch.float64)


class Faulty:
    """Makes a process's own digits go wrong from some index of the dataset on."""

    def __init__(self, reader: Any, rank: int, fault: str) -> None:
        self.reader, self.rank, self.fault = reader, rank, fault

    def __call__(self, key: tuple[int, int]) -> Any:
        batch = self.reader(key)
        if key[0] == 1 and self.rank == 1:
            if self.fault == "data":
                return DataError("digit 7: is torn")
            batch.latents[2] = torch.inf
        return batch


def train_with_fault(world: Distributed, fault: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        plain = Reader.__getitem__
        patch.setattr(Reader, "__getitem__", lambda self, key: Faulty(partial(plain, self), world.rank, fault)(key))
        values = recipe()
        checked = load_recipe(values, registry=REGISTRY)
        torch.manual_seed(0)
        objective = objective_of(checked, build(checked))
        trainer = Trainer(open_job(checked, objective, REGISTRY, world.rank, world.size), objective, world)
        before = {}
        try:
            for _ in trainer.run(2):
                before = {name: each.detach().clone() for name, each in trainer.state.parameters.items()}
        except ZooError as error:
            same = all(torch.equal(before[name], each) for name, each in trainer.state.parameters.items())
            return type(error), str(error), trainer.step, same
        return None


def test_all_processes_see_what_is_not_finite_on_one_before_the_update() -> None:
    for kind, message, step, same in run_ranks(train_with_fault, 2, "infinite"):
        assert kind is NumericError
        assert message.startswith("step 2: the loss is not finite; samples: digit ")
        assert message.count("digit") == 1
        assert step == 1
        assert same, "weights were updated by what is not finite"


def test_all_processes_stop_where_one_cannot_read() -> None:
    for found in run_ranks(train_with_fault, 2, "data"):
        assert found == (DataError, "digit 7: is torn", 1, True)


def agree(world: Distributed) -> str:
    try:
        world.agree(RunError("no space") if world.rank == 1 else None)
    except RunError as error:
        return str(error)
    return "nothing"


def test_processes_agree_on_an_error() -> None:
    assert run_ranks(agree, 3) == ["no space"] * 3


def first(world: Distributed) -> list[Any]:
    done = world.first(lambda: world.rank)
    try:
        world.first(fail)
    except RunError as error:
        return [done, str(error)]
    return [done, "nothing"]


def fail() -> None:
    raise RunError("the disk is full")


def test_the_main_process_works_for_all() -> None:
    assert run_ranks(first, 2) == [[0, "the disk is full"]] * 2


def fault() -> None:
    raise TypeError("a plug-in's")


def first_faults(world: Distributed) -> None:
    world.first(fault)


def together_faults(world: Distributed) -> None:
    with world.together():
        if world.rank == 1:
            fault()


@pytest.mark.parametrize(("work", "rank"), [(first_faults, 0), (together_faults, 1)])
def test_a_fault_of_one_process_ends_all(work: Callable[[Distributed], None], rank: int) -> None:
    """Where it is shows its own process, and the others say which one that is."""
    found = run_ranks(work, 2)
    assert type(found[rank]) is TypeError
    assert "in fault" in found[rank].__notes__[0]
    assert type(found[1 - rank]) is FaultError
    assert str(found[1 - rank]) == f"process {rank} has failed: TypeError: a plug-in's"
    with pytest.raises(TypeError, match="a plug-in's"):
        alone(lambda world: world.first(fault))


def first_ends(world: Distributed) -> None:
    world.first(sys.exit)


def together_ends(world: Distributed) -> None:
    with world.together():
        if world.rank == 1:
            sys.exit()


@pytest.mark.parametrize(("work", "rank"), [(first_ends, 0), (together_ends, 1)])
def test_what_is_to_end_one_process_leaves_none_waiting(work: Callable[[Distributed], None], rank: int) -> None:
    found = run_ranks(work, 2)
    assert (type(found[rank]), str(found[rank])) == (RuntimeError, "a part ends the process, by sys.exit or its like")
    assert type(found[1 - rank]) is FaultError


def test_gather_and_sum() -> None:
    def work(world: Distributed) -> list[Any]:
        own = torch.tensor([world.rank, 1])
        return [[each.tolist() for each in world.gather(own)], world.sum(own.clone()).tolist()]

    assert run_ranks(work, 2) == [[[[0, 1], [1, 1]], [1, 2]]] * 2
    assert alone(work) == [[[0, 1]], [0, 1]]


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ZooError, match="device hpu: cannot be used"), join_processes("hpu"):
        pass
