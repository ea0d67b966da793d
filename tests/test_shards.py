from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.distributed.ranks import run_ranks
from zoo.assembly import build, load_recipe
from zoo.distributed.distributed import Distributed
from zoo.flow import objective_of
from zoo.registry import Registry
from zoo.shards import total_norm, whole
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

ROWS = (1, 2, 3, 4, 5, 7)


def tensors() -> list[Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return [torch.randn(rows, *more, generator=drawn) for rows in ROWS for more in ((), (3,), (2, 5))]


def gathered(world: Distributed) -> tuple[list[Tensor], Tensor]:
    mesh = init_device_mesh("cpu", (world.size,))
    shards = [distribute_tensor(each, mesh, [Shard(0)], src_data_rank=None) for each in tensors()]
    return [whole(each) for each in shards], total_norm(shards)


@pytest.mark.parametrize("ranks", [2, 4])  # with four, some have no row of some
def test_shards_come_back_whole_and_their_norm_is_that_of_all(ranks: int) -> None:
    expected = tensors()
    norm = torch.linalg.vector_norm(torch.cat([each.flatten() for each in expected]).double())
    for values, found in run_ranks(gathered, ranks, group=True):
        assert all(torch.equal(one, other) for one, other in zip(values, expected, strict=True))
        torch.testing.assert_close(found.double(), norm, rtol=1e-6, atol=0.0)


def test_a_tensor_that_is_not_shared_out_is_its_own_whole() -> None:
    each = torch.randn(3, 2)
    assert whole(each) is each
    torch.testing.assert_close(total_norm([each, each]), torch.linalg.vector_norm(torch.cat([each, each])))


class Functional(TorchDispatchMode):
    """Lists the functional collectives that are called under it."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "_c10d_functional":
            self.called.append(str(func))
        return func(*args, **(kwargs or {}))


def collectives(world: Distributed, values: dict[str, Any], control: bool) -> list[str]:
    recipe = load_recipe("digits_dit", values)
    objective = objective_of(recipe, build(recipe))
    trainer = Trainer(open_job(recipe, objective, Registry(), world.rank, world.size), objective, world)
    with Functional() as functional:
        for _ in trainer.run(1):
            pass
        if control:
            first = next(iter(trainer.state.parameters.values()))
            assert isinstance(first, DTensor)
            first.full_tensor()
        trainer.state.tensors(world)
    return functional.called


@pytest.mark.parametrize(("control", "optimizer"), [(False, "adamw"), (False, "muon"), (True, "adamw")])
def test_training_and_saving_call_no_functional_collective(control: bool, optimizer: str) -> None:
    values = {
        "train.optimizer": optimizer,
        "train.parallel": "fsdp",
        "train.steps": 1,
        "train.batch": 8,
        "data.workers": 0,
    }
    for called in run_ranks(collectives, 2, values, control, group=True):
        assert bool(called) == control, called
