"""Weights that stay as they are, and weights of another learning rate, by patterns of their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, VALUES, Said, small, train
from zoo.assembly import build, load_recipe
from zoo.audit import activation_memory, held_memory
from zoo.distributed.distributed import Distributed
from zoo.errors import RecipeError, ZooError
from zoo.flow import objective_of
from zoo.plan.passes import training_step
from zoo.recipe.averages import Profile
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.posthoc import combined
from zoo.runs.run_folder import RunFolder
from zoo.train.job import open_job
from zoo.train.run import Run
from zoo.train.trainer import Trainer

FIRST = ("patch_embedders.*", "time_embedder.*", "class_conditioner.*", "stage_embedder.*", "blocks.0.*")
FREEZE = f"train.freeze=[{', '.join(FIRST)}]"
FASTER = "train.learning_rate_of={blocks.1.*: 4, heads.*: 0.5}"


def trainer_of(*overrides: str, world: Distributed = ALONE, double: bool = False, **options: Any) -> Trainer:
    recipe = load_recipe({**VALUES, "train": {**VALUES["train"], "batch": 16, **options}}, overrides, Registry())
    torch.manual_seed(0)
    objective = objective_of(recipe, build(recipe, dtype=torch.float64 if double else torch.float32))
    return Trainer(open_job(recipe, objective, Registry(), world.rank, world.size), objective, world)


def is_first(name: str) -> bool:
    return name.startswith(tuple(pattern.removesuffix("*") for pattern in FIRST))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_frozen_weights_stay_and_nothing_is_kept_of_them(optimizer: str) -> None:
    trainer = trainer_of(FREEZE, f"train.optimizer={optimizer}", "train.ema=[0.9, {std: 0.1}]")
    before = {name: each.clone() for name, each in trainer.backbone.named_parameters()}
    assert len(list(trainer.run(4))) == 4  # heads and gates start at zero
    moved = {
        name: not torch.equal(each, before[name])
        for name, each in trainer.backbone.named_parameters()
        if f"backbone.{name}" in trainer.state.parameters or is_first(name)
    }
    assert moved == {name: not is_first(name) for name in moved}
    assert 0 < sum(moved.values()) < len(moved)
    assert not any(is_first(name) for ema in trainer.state.emas.values() for name in ema.averages)
    files = trainer.state.tensors(ALONE)
    assert not any(is_first(name.removeprefix("backbone.")) for name in files["optimizer"])
    assert all(torch.equal(files["ema"][name], before[name]) for name in moved if is_first(name))


def first_moves(*overrides: str) -> dict[str, Tensor]:
    trainer = trainer_of("train.clip=null", "train.warmup=0", *overrides)
    with torch.no_grad():
        for each in trainer.backbone.parameters():  # heads and gates start at zero, and nothing behind them would move
            each.add_(torch.randn_like(each), alpha=0.1)
    before = {name: each.clone() for name, each in trainer.backbone.named_parameters()}
    next(trainer.run(1))
    return {name: (each - before[name]).detach() for name, each in trainer.backbone.named_parameters()}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_first_update_is_as_many_times_as_large(optimizer: str) -> None:
    plain, other = (first_moves(f"train.optimizer={optimizer}", *more) for more in ((), (FASTER,)))
    assert all(each.any() for name, each in plain.items() if name.startswith(("blocks.1.mlp", "heads")))
    for name, move in plain.items():
        factor = 4.0 if name.startswith("blocks.1.") else 0.5 if name.startswith("heads.") else 1.0
        torch.testing.assert_close(other[name], factor * move, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_goes_on_bit_by_bit(optimizer: str, tmp_path: Path) -> None:
    options = (FREEZE, "train.learning_rate_of={blocks.1.*: 4}", f"train.optimizer={optimizer}", "train.steps=4")
    whole = train(tmp_path / "whole", *options)
    with pytest.raises(ZooError):
        train(tmp_path / "parts", *options, stop_at=2)
    parts = train(tmp_path / "parts", *options, resume=True)
    one, other = (checkpoints.latest(each.checkpoints)[0] for each in (whole, parts))
    assert one is not None
    assert other is not None
    for file in ("model", "ema", "optimizer"):
        found, expected = other.tensors(file), one.tensors(file)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], each) for name, each in expected.items()), file


def after_three(world: Distributed, options: tuple[str, ...], **train: Any) -> dict[str, Tensor]:
    own = trainer_of(*options, world=world, double=True, **train)
    assert len(list(own.run(3))) == 3
    files = own.state.tensors(world)
    return {f"{file}/{name}": each for file, values in files.items() for name, each in values.items()}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "options", [(FREEZE, "train.learning_rate_of={blocks.1.*: 4}"), ("train.freeze=[blocks.1.*]", "train.accumulate=2")]
)
def test_processes_train_as_one_does(optimizer: str, options: tuple[str, ...]) -> None:
    options = (*options, f"train.optimizer={optimizer}")
    expected = after_three(ALONE, options)
    for parallel in ("ddp", "fsdp"):
        (found, *_) = run_ranks(
            lambda world, own=parallel: after_three(world, options, parallel=own), 2, group=parallel == "fsdp"
        )
        assert not isinstance(found, Exception), found
        assert found.keys() == expected.keys()
        for name, each in expected.items():
            torch.testing.assert_close(found[name], each, rtol=0.0, atol=1e-6, msg=f"{parallel}: {name}")


def test_an_average_that_was_not_kept_has_the_frozen_weights(tmp_path: Path) -> None:
    path = train(tmp_path / "run", FREEZE, "train.ema=[{std: 0.05}, {std: 0.1}]", "train.snapshot_every=1").path
    made, _ = combined(path, Profile(std=0.08), Registry())
    newest, _ = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    frozen = {name: each for name, each in newest.tensors("model").items() if is_first(name)}
    assert frozen
    assert all(torch.equal(made.tensors[name], each) for name, each in frozen.items())


def test_audits_and_plans_know_what_is_not_trained() -> None:
    plain, frozen = small(), small(FREEZE)
    backbone = build(plain, device="meta")
    one, other = (held_memory(backbone, recipe) for recipe in (plain, frozen))
    still = sum(each.nbytes for name, each in backbone.named_parameters() if is_first(name) and each.requires_grad)
    assert other.weights == one.weights
    assert one.gradients - other.gradients == one.averages - other.averages == still
    assert other.optimizer < one.optimizer - still
    assert activation_memory(backbone, frozen).mean_bytes < activation_memory(backbone, plain).mean_bytes
    passes = [training_step(backbone, recipe, [4, 4])[0] for recipe in (plain, frozen)]
    assert sum(each.flops for each in passes[1]) < 0.9 * sum(each.flops for each in passes[0])
    assert all(
        each.requires_grad for name, each in backbone.named_parameters() if is_first(name) and "freq" not in name
    )


def test_a_run_says_what_they_meet(tmp_path: Path) -> None:
    said = Said()
    folder = RunFolder(tmp_path / "run")
    recipe = small("train.freeze=[blocks.0.*]", "train.learning_rate_of={blocks.*.mlp.*: 2}", "train.steps=1")
    Run(recipe, folder, Registry(), ALONE, said).train()
    block = build(recipe, device="meta").get_submodule("blocks.0")
    count, size = len(list(block.parameters())), sum(each.numel() for each in block.parameters())
    whole = sum(each.numel() for each in build(recipe, device="meta").parameters())
    assert f"train.freeze: {count} weights, {size:,} of {whole:,} parameters, stay as they are" in said.said
    mlp = [each.numel() for name, each in block.named_parameters() if name.startswith("mlp.")]
    rates = f"2 times the learning rate for {len(mlp)} weights, {sum(mlp):,} parameters"
    assert f"train.learning_rate_of: blocks.*.mlp.*: {rates}" in said.said
    assert json.loads(json.dumps(recipe.resolved()))["train"]["learning_rate_of"] == {"blocks.*.mlp.*": 2.0}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.freeze=[block.*]"], "train.freeze: 'block.*' meets no weight that the backbone trains; did you mean "),
        (["train.freeze=[blocks.0]"], "did you mean 'blocks.0.*'?"),
        (["train.freeze=[zzz]"], "names are such as 'patch_embedders.8x8.proj.weight'"),
        (["train.freeze=[positions.*]"], "'positions.*' meets no weight that the backbone trains"),  # but tables
        (["train.freeze=['*']"], "train.freeze: leaves no weight of the backbone to train"),
        (["train.learning_rate_of={blocks.*.atention.*: 3}"], "did you mean 'blocks.*.attention.*'?"),
        (["train.learning_rate_of={blocks.*: 3, '*.bias': 2}"], "bias is met by 'blocks.*' (3) and '*.bias' (2)"),
        (["train.freeze=[blocks.*]", "train.learning_rate_of={blocks.0.*: 3}"], "'blocks.0.*' meets frozen weights"),
        (["train.learning_rate_of={heads.*: 0}"], "train.learning_rate_of.heads.*: should be above 0"),
    ],
    ids=str,
)
def test_patterns_that_mean_nothing_are_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(RecipeError) as refused:
        trainer_of(*overrides)
    assert told in str(refused.value)


def test_patterns_that_agree_may_meet_the_same() -> None:
    options = small("train.learning_rate_of={blocks.*: 3, '*.bias': 3}").train
    assert dict(options.learning_rate_of) == {"blocks.*": 3.0, "*.bias": 3.0}
