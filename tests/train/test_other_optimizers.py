"""Optimizers other than AdamW go on bit by bit, whatever they keep, on one process and on shares of several."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import zoo
from tests.distributed.ranks import alone, run_ranks
from tests.train.small import VALUES
from zoo.assembly import load_recipe
from zoo.distributed.distributed import Distributed
from zoo.errors import PluginError, Preempted
from zoo.optim import Optimizer
from zoo.plugins import Plugin
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer

STEPS, STOP = 5, 3


class OddOptimizer(torch.optim.Optimizer):
    """Keeps of each weight what PyTorch's own never do, and decides by all of it."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["pulse"] = (group["pulse"][0] + 1, [*group["pulse"][1][-2:], group["lr"]])
            for weight in group["params"]:
                self.update(weight, group)

    def update(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state.update(
                updates=0,
                word="up",
                none=None,
                seen=torch.zeros((), dtype=torch.int64),
                fine=torch.tensor(1 / 3, dtype=torch.float64),
                rates=torch.zeros(3, 2),
                nested={"means": [torch.zeros_like(weight), (1.5, True)], 7: torch.ones(2)},
            )
        assert state["none"] is None
        state["updates"] += 1
        state["seen"] += 2**24 + 1  # which no float32 holds
        state["fine"] /= 3
        state["rates"] = torch.cat([state["rates"], torch.full((1, 2), group["lr"])])  # which grows
        state["word"] = {"up": "down", "down": "up"}[state["word"]]
        if state["updates"] > 1:
            state["late"] = state.get("late", torch.zeros_like(weight)) + weight
            weight.sub_(state["late"], alpha=1e-3)
        mean = state["nested"]["means"][0]
        mean.lerp_(weight.grad, 0.25)
        state["nested"][7] = state["nested"][7] * state["nested"]["means"][1][0]
        seen = int(state["seen"]) - state["updates"] * (2**24 + 1)
        odd = (
            float(state["fine"]) * 1e6 + len(state["rates"]) + float(state["nested"][7].sum()) + sum(group["pulse"][1])
        )
        weight.sub_(mean, alpha=group["lr"] * (1 + seen + odd / 1e3) * (1.0 if state["word"] == "up" else 0.5))


@zoo.part("optimizer", "odd")
class Odd(Optimizer):
    """Two of them, which share the weights out."""

    def build(self, weights: Any, learning_rate: float) -> Any:
        by_kind = [
            [each.parameter for each in weights if (each.role == "matrix") == wanted] for wanted in (True, False)
        ]
        return [OddOptimizer(own, {"lr": learning_rate, "pulse": (0, [])}) for own in by_kind]


@zoo.part("optimizer", "keeps_a_set")
class KeepsASet(Optimizer):
    """What no checkpoint can hold."""

    def build(self, weights: Any, learning_rate: float) -> Any:
        class WithASet(torch.optim.SGD):
            def step(self, closure: Any = None) -> Any:
                super().step()
                for weight in self.param_groups[0]["params"]:
                    self.state[weight]["rates"] = {0.5}

        return WithASet([each.parameter for each in weights], lr=learning_rate)


REGISTRY = Registry()
REGISTRY.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [Odd, KeepsASet])), Plugin("tests", "1"))


def values(optimizer: str, parallel: str) -> dict[str, Any]:
    train = {**VALUES["train"], "steps": STEPS, "warmup": 2, "schedule": "wsd", "checkpoint_every": 2}
    return {**VALUES, "train": {**train, "optimizer": optimizer, "parallel": parallel, "learning_rate": 1e-3}}


def run(world: Distributed, path: Path, optimizer: str, parallel: str, stop_at: int | None = None) -> int:
    recipe = load_recipe(values(optimizer, parallel), registry=REGISTRY)
    folder = RunFolder(path)
    try:
        return Run(recipe, folder, REGISTRY, world, Silent()).train(resume=folder.is_used, stop_at=stop_at).step
    except Preempted:
        return 0


def state_of(path: Path) -> dict[str, Any]:
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (STEPS, [])
    files = json.loads((newest.path / "manifest.json").read_text())["files"]
    return {**files, "state.json": {**newest.state(), "run": None}}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("optimizer", "ranks", "parallel"),
    [
        ("odd", 1, "ddp"),
        ("odd", 2, "fsdp"),
        ("muon", 2, "fsdp"),
        *(pytest.param("odd", *way, marks=SLOW) for way in ((1, "fsdp"), (2, "ddp"))),
        *(pytest.param("muon", *way, marks=SLOW) for way in ((1, "ddp"), (1, "fsdp"), (2, "ddp"))),
    ],
)
def test_a_run_that_goes_on_is_the_run_that_never_stopped(
    tmp_path: Path, optimizer: str, ranks: int, parallel: str
) -> None:
    way, group = (optimizer, parallel), parallel == "fsdp"
    assert run_ranks(run, ranks, tmp_path / "whole", *way, group=group) == [STEPS] * ranks
    assert run_ranks(run, ranks, tmp_path / "parts", *way, STOP, group=group) == [0] * ranks
    assert run_ranks(run, ranks, tmp_path / "parts", *way, group=group) == [STEPS] * ranks
    assert state_of(tmp_path / "parts") == state_of(tmp_path / "whole")


def test_a_run_may_go_on_with_other_ranks_and_shares(tmp_path: Path) -> None:
    assert alone(run, tmp_path, "muon", "ddp", STOP) == 0
    assert run_ranks(run, 2, tmp_path, "muon", "fsdp", group=True) == [STEPS] * 2


def test_what_no_checkpoint_holds_is_told(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"rates: is of type set, which no checkpoint holds; an optimizer keeps "):
        alone(run, tmp_path, "keeps_a_set", "ddp")


def test_a_run_whose_updates_were_all_left_out_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimizer that has not begun has nothing to save, and is not made to begin by being saved."""
    monkeypatch.setattr(Trainer, "_problem", lambda self, *given: "left out" if self.step < STOP else "")
    monkeypatch.setattr(Trainer, "_skip", lambda self, *given: None)
    for folder, stops in (("whole", (None,)), ("parts", (STOP, None))):
        assert [alone(run, tmp_path / folder, "adamw", "ddp", stop) for stop in stops][-1] == STEPS
    assert state_of(tmp_path / "parts") == state_of(tmp_path / "whole")
    newest, _ = checkpoints.latest(tmp_path / "whole" / "checkpoints")
    assert newest is not None
    steps = {float(each) for name, each in newest.tensors("optimizer").items() if name.endswith("/step")}
    assert steps == {float(STEPS - STOP)}
