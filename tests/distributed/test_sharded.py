"""What processes exchange in a step: FSDP gathers each block's weights once, and shares its gradient out once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.fsdp._fully_shard import _fsdp_param_group as groups

import zoo.fully_sharded
from tests.distributed.ranks import run_ranks
from tests.train.small import VALUES
from zoo.assembly import build, load_recipe
from zoo.distributed.distributed import Distributed
from zoo.flow import objective_of
from zoo.registry import Registry
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

BLOCKS = 2


def trainer(world: Distributed, **train: Any) -> Trainer:
    """Of a small hybrid of two stages."""
    registry = Registry()
    recipe = load_recipe({**VALUES, "train": {**VALUES["train"], "batch": 16, **train}}, registry=registry)
    torch.manual_seed(0)
    objective = objective_of(recipe, build(recipe, registry=registry))
    assert len(objective.backbone.blocks) == BLOCKS
    return Trainer(open_job(recipe, objective, registry, world.rank, world.size), objective, world)


def exchanges(world: Distributed, policy: Mapping[str, Any], **train: Any) -> dict[str, int]:
    """Of the second step: gathers in forward and in backward passes, and gradients that are shared out."""
    found: Counter[str] = Counter()
    passing = ["forward"]
    backward, shard = Tensor.backward, zoo.fully_sharded.fully_shard

    def counted(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            found[f"{name}, {passing[0]}"] += 1
            return plain(*arguments, **options)

        return call

    def backwards(*arguments: Any, **options: Any) -> Any:
        passing[0] = "backward"
        backward(*arguments, **options)
        passing[0] = "forward"

    def sharded(*arguments: Any, **options: Any) -> Any:
        return shard(*arguments, **{**options, **policy})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "foreach_all_gather", counted("gathers", groups.foreach_all_gather))
        patch.setattr(groups, "foreach_reduce", counted("scatters", groups.foreach_reduce))
        patch.setattr(Tensor, "backward", backwards)
        patch.setattr(zoo.fully_sharded, "fully_shard", sharded)
        steps = trainer(world, parallel="fsdp", **train).run(2)
        next(steps)
        found.clear()
        next(steps)
    return dict(found)


ONCE = {"gathers, forward": BLOCKS + 1, "scatters, backward": BLOCKS + 1}
"""For each block, and for all else."""


@pytest.mark.parametrize(
    "train",
    [{}, {"accumulate": 2}, {"precision": "bfloat16"}, {"accumulate": 2, "checkpoint_activations": True}],
    ids=str,
)
def test_fsdp_gathers_each_block_once_a_step(train: dict[str, Any]) -> None:
    assert run_ranks(lambda world: exchanges(world, {}, **train), 2, group=True) == [ONCE] * 2


def test_the_count_sees_blocks_that_are_gathered_again() -> None:
    """As by PyTorch's own policy."""
    (found, same) = run_ranks(exchanges, 2, {"reshard_after_forward": None}, group=True)
    assert found == same == {**ONCE, "gathers, backward": BLOCKS}
