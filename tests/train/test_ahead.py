"""Updates that are asked for before losses are known, as on a GPU: the same training, and nothing that waits."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, small
from zoo.assembly import build
from zoo.distributed.distributed import Distributed
from zoo.flow.objective import objective_of
from zoo.optim.adamw import AdamW
from zoo.optim.updates import Updates
from zoo.registry import Registry
from zoo.train import trainer as trainers
from zoo.train.job import open_job
from zoo.train.late import Late
from zoo.train.trainer import Trainer

REGISTRY = Registry()
SPLIT = "train.accumulate=2"


def made(*overrides: str) -> Trainer:
    recipe = small("train.steps=20", *overrides, registry=REGISTRY)
    torch.manual_seed(0)
    objective = objective_of(recipe, build(recipe))
    return Trainer(open_job(recipe, objective, REGISTRY, 0, 1), objective, ALONE)


def trained(*overrides: str, steps: int = 4) -> dict[str, Tensor]:
    """Weights, averages and moments after some steps, by file and name."""
    trainer = made(*overrides)
    assert len(list(trainer.run(steps))) == steps
    return {f"{file}/{name}": each for file, own in trainer.state.tensors(ALONE).items() for name, each in own.items()}


@pytest.mark.parametrize("overrides", [("train.clip=null",), ("train.clip=0.01",), ("train.clip=1e6", SPLIT)])
def test_training_is_the_same(overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(*overrides)
    monkeypatch.setattr(trainers, "_goes_ahead", lambda world: True)
    found = trained(*overrides)
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=1e-4, atol=1e-6, msg=name)


def test_clipping_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would say nothing of it; AdamW forgets a constant factor but for its eps."""
    monkeypatch.setattr(trainers, "_goes_ahead", lambda world: True)
    large = ("train.optimizer={type: adamw, eps: 1}",)
    plain, clipped = trained(*large, "train.clip=null"), trained(*large, "train.clip=0.01")
    assert any(not torch.allclose(plain[name], clipped[name]) for name in plain if name.startswith("model/"))


def test_a_term_without_a_gradient_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values may be infinite where no gradient is."""
    monkeypatch.setattr(trainers, "_goes_ahead", lambda world: True)
    trainer = made("train.on_non_finite=skip")
    assert trainer.ahead
    before = {name: each.clone() for name, each in trainer.state.parameters.items()}
    losses = Trainer._losses

    def spoiled(self, piece):  # type: ignore[no-untyped-def]
        values, loss = losses(self, piece)
        return {**values, "other": torch.full_like(loss, torch.inf)}, loss

    monkeypatch.setattr(Trainer, "_losses", spoiled)
    with trainers.ending_nothing():
        (pieces,) = list(trainer._batches(1, lambda: False))
        found = trainer._accumulate(pieces)
        trainer._step_ahead(found, trainer._clip())
    assert all(torch.equal(each, before[name]) for name, each in trainer.state.parameters.items())


class Mine(torch.optim.AdamW):
    """May do more in a step than PyTorch's."""


@pytest.mark.parametrize(
    ("optimizer", "can"),
    [
        (partial(torch.optim.AdamW, fused=True), True),
        (partial(torch.optim.Adam, fused=True), True),
        (partial(torch.optim.AdamW, foreach=True), False),
        (partial(torch.optim.SGD, fused=True, momentum=0.9), False),
        (partial(Mine, fused=True), False),
    ],
)
def test_what_leaves_out_an_update_whole(optimizer: Any, can: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AdamW, "build", lambda self, weights, rate: optimizer([w.parameter for w in weights], lr=rate))
    assert made().updates.can_leave_out is can


def test_weights_in_float64_are_clipped_too() -> None:
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    updates = Updates(AdamW(eps=1.0), torch.nn.ParameterList([weight]), (), 0.1)
    weight.grad = torch.full_like(weight, 3.0)
    updates.step_if(torch.tensor(True), torch.linalg.vector_norm(weight.grad), 0.1, 1.0)
    torch.testing.assert_close(weight.detach(), torch.full_like(weight, 1 - 0.1 * 0.5**0.5 / (1 + 0.5**0.5)))


def test_optimizers_that_cannot_leave_out_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers, "_goes_ahead", lambda world: True)
    assert not made("train.optimizer=muon").ahead


def test_on_a_cpu_nothing_is_asked_for_ahead() -> None:
    assert not made().ahead


def on_meta(monkeypatch: pytest.MonkeyPatch) -> tuple[Trainer, list[object]]:
    """A trainer whose device has no values, and a step's samples; any question for a value raises there."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which knows no such device
    trainer = made()
    pieces = next(trainer._batches(1, lambda: False))
    trainer.objective.to("meta")
    trainer.state.parameters = dict(trainer.objective.named_parameters())
    trainer.world, trainer.ahead = replace(ALONE, device=torch.device("meta")), True
    return trainer, list(pieces)


def test_a_step_asks_the_device_for_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, pieces = on_meta(monkeypatch)
    trainer._accumulate(pieces)  # type: ignore[arg-type]
    assert trainer._clip().is_meta


@pytest.mark.parametrize("ask", [Tensor.item, Tensor.tolist, bool, Tensor.cpu, Tensor.nonzero])
def test_a_question_for_a_value_is_caught(ask, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    trainer, pieces = on_meta(monkeypatch)
    total = trainers.total

    def asking(*given):  # type: ignore[no-untyped-def]
        found = total(*given)
        ask(found.sum())
        return found

    monkeypatch.setattr(trainers, "total", asking)
    with pytest.raises((NotImplementedError, RuntimeError)):
        trainer._accumulate(pieces)  # type: ignore[arg-type]


def test_late_numbers_are_those_of_their_time() -> None:
    numbers = torch.arange(3.0)
    late = Late([numbers, numbers[:1]])
    assert [each.tolist() for each in late.read()] == [[0.0, 1.0, 2.0], [0.0]]


# -- several processes ----------------------------------------------------------------------------------------------


def trained_by(world: Distributed, ahead: bool, parallel: str, bad: Any = None) -> tuple[dict[str, Tensor], list[str]]:
    """All tensors after four steps of one of two processes, and what of these steps was left out.

    ``bad`` says of which rank a term without a gradient is infinite in the second step.
    """
    recipe = small("train.steps=20", f"train.parallel={parallel}", "train.on_non_finite=skip", registry=REGISTRY)
    torch.manual_seed(0)
    objective = objective_of(recipe, build(recipe))
    losses = Trainer._losses

    def spoiled(self: Trainer, piece: Any) -> Any:
        values, loss = losses(self, piece)
        infinite = self.step == 1 and world.rank == bad
        return {name: each + (torch.inf if infinite else 0.0) for name, each in values.items()}, loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers, "_goes_ahead", lambda world: ahead)
        patch.setattr(Trainer, "_losses", spoiled)
        trainer = Trainer(open_job(recipe, objective, REGISTRY, world.rank, world.size), objective, world)
        assert trainer.ahead is ahead
        told = [step.skipped for step in trainer.run(4)]
    files = trainer.state.tensors(world)
    return {f"{file}/{name}": each for file, own in files.items() for name, each in own.items()}, told


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_several_processes_train_the_same(parallel: str) -> None:
    (expected, _), _ = run_ranks(trained_by, 2, False, parallel)
    (found, told), _ = run_ranks(trained_by, 2, True, parallel)
    assert told == [""] * 4
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=1e-4, atol=1e-6, msg=name)


def test_what_is_not_finite_on_one_is_left_out_on_all() -> None:
    """Its gradient is finite everywhere."""
    (expected, told), (_, same) = run_ranks(trained_by, 2, False, "ddp", 1)
    (found, said), _ = run_ranks(trained_by, 2, True, "ddp", 1)
    assert said == told == same
    assert [bool(each) for each in told] == [False, True, False, False]
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=1e-4, atol=1e-6, msg=name)


# -- where others do not say how theirs went ------------------------------------------------------------------------


class GoneError(Exception):
    """Another process has."""


def left_alone(monkeypatch: pytest.MonkeyPatch, spoiled: bool) -> Trainer:
    """A trainer whose third step ends while it waits for the others, its update asked for."""
    monkeypatch.setattr(trainers, "_goes_ahead", lambda world: True)
    trainer = made("train.on_non_finite=skip")
    assert len(list(trainer.run(2))) == 2

    def gone(*_: Any) -> Tensor:
        raise GoneError

    monkeypatch.setattr(trainers, "BatchLosses", gone)
    if spoiled:
        clip = Trainer._clip
        monkeypatch.setattr(Trainer, "_clip", lambda self: clip(self) * torch.nan)
    with pytest.raises(GoneError):
        list(trainer.run(3))
    assert (trainer.step, trainer.whole) == (2, False)
    return trainer


def test_an_update_that_was_asked_for_is_ended_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        trainer = left_alone(patch, spoiled=False)
    trainer.settle()
    trainer.settle()
    assert (trainer.step, trainer.whole) == (3, True)
    expected = trained(steps=3)
    for file, own in trainer.state.tensors(ALONE).items():
        for name, each in own.items():
            torch.testing.assert_close(each, expected[f"{file}/{name}"], rtol=1e-4, atol=1e-6, msg=name)


def test_one_that_was_left_out_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        trainer = left_alone(patch, spoiled=True)
    trainer.settle()
    assert (trainer.step, trainer.whole) == (2, True)
    expected = trained(steps=2)
    for name, each in trainer.state.tensors(ALONE)["model"].items():
        torch.testing.assert_close(each, expected[f"model/{name}"], rtol=1e-4, atol=1e-6, msg=name)
