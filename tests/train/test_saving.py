"""What is saved is sound; what is not leaves the older checkpoints as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from tests.distributed.ranks import alone, run_ranks
from tests.train.small import small, train
from zoo.callbacks import Step
from zoo.distributed.distributed import Distributed
from zoo.errors import NumericError
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer

WEIGHT = "blocks.0.mlp.fc2.weight"


class Spoiler(Silent):
    """Makes a tensor of the state infinite after a step."""

    def __init__(self, what: str, after: int) -> None:
        self.what, self.after = what, after

    def start(self, trainer: Trainer, last: int) -> None:
        self.trainer = trainer

    def step(self, step: Step, images_per_second: float | None) -> None:
        if step.step == self.after:
            spoil(self.trainer, self.what)


def spoil(trainer: Trainer, what: str) -> None:
    """Make the last number of a tensor infinite, of a sharded one that of the last process."""
    parameter = trainer.state.parameters[f"backbone.{WEIGHT}"]
    tensor = {
        "model": lambda: parameter,
        "ema": lambda: trainer.state.emas["ema"].averages[WEIGHT],
        "optimizer": lambda: trainer.updates.optimizers[0].state[parameter]["exp_avg_sq"],  # FSDP keeps it otherwise
    }[what]().detach()
    own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    own.view(-1)[-1] = torch.inf


def run(world: Distributed, path: Path, watcher: Silent, *overrides: str) -> None:
    registry = Registry()
    Run(small(*overrides, registry=registry), RunFolder(path), registry, world, watcher).train()


def steps_in(path: Path) -> list[str]:
    return sorted(each.name for each in (path / "checkpoints").glob("*"))


def test_weights_that_one_update_has_made_infinite_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NumericError) as caught:
        train(tmp_path, "train.steps=1", "train.learning_rate=3e38", "train.warmup=0")
    assert caught.value.exit_code == 5
    assert str(caught.value).startswith("step 1: training has made what is not finite, and is not saved: model/")
    assert "more; there is no checkpoint yet; begin another run, with a lower learning rate" in str(caught.value)
    assert steps_in(tmp_path) == []


@pytest.mark.parametrize(
    ("what", "name"),
    [("model", f"model/{WEIGHT}"), ("ema", f"ema/{WEIGHT}"), ("optimizer", f"optimizer/backbone.{WEIGHT}/exp_avg_sq")],
)
def test_each_piece_of_the_state_is_looked_at_before_older_checkpoints_go(tmp_path: Path, what: str, name: str) -> None:
    with pytest.raises(NumericError) as caught:
        alone(run, tmp_path, Spoiler(what, after=3), "train.keep_last=1")
    kept = tmp_path / "checkpoints" / "step_00000002"
    assert (
        f"step 3: training has made what is not finite, and is not saved: {name}; the last checkpoint is {kept};"
        in (str(caught.value))
    )
    assert steps_in(tmp_path) == ["step_00000002"]
    assert checkpoints.problem_of(kept) is None


def test_one_of_every_so_many_steps_stays(tmp_path: Path) -> None:
    options = ("train.steps=7", "train.checkpoint_every=1", "train.keep_last=1")
    train(tmp_path / "kept", *options, "train.keep_every=3")
    assert steps_in(tmp_path / "kept") == ["step_00000003", "step_00000006", "step_00000007"]
    train(tmp_path / "plain", *options)
    assert steps_in(tmp_path / "plain") == ["step_00000007"]


def spoil_the_last_shard(world: Distributed, path: Path) -> None:
    plain = Trainer.run

    def run_and_spoil(self: Trainer, *arguments: Any) -> Any:
        for step in plain(self, *arguments):
            if step.step == 3 and world.rank == world.size - 1:
                spoil(self, "ema")
            yield step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run", run_and_spoil)
        run(world, path, Silent(), "train.parallel=fsdp")


def test_a_shard_of_one_process_stops_all(tmp_path: Path) -> None:
    told = run_ranks(spoil_the_last_shard, 2, tmp_path, group=True)
    assert [type(each) for each in told] == [NumericError] * 2
    assert len({str(each) for each in told}) == 1
    assert f"is not saved: ema/{WEIGHT}; the last checkpoint is " in str(told[0])
    assert steps_in(tmp_path) == ["step_00000002"]
