"""FSDP gathers each block once a step and shares its gradient out once, among all processes or those of each group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.fsdp._fully_shard import _fsdp_param_group as groups
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import zoo.fully_sharded
from tests.distributed.ranks import run_ranks
from tests.train.small import VALUES
from zoo.assembly import build, load_recipe
from zoo.distributed.distributed import PATIENCE, Distributed
from zoo.errors import RecipeError
from zoo.flow import objective_of
from zoo.optim.adamw import AdamW
from zoo.optim.state import begun_state, flat, groups_of, nested, state_of, take
from zoo.registry import Registry
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

BLOCKS = 2


def trainer(world: Distributed, double: bool = False, **train: Any) -> Trainer:
    """Of a small hybrid of two stages."""
    registry = Registry()
    recipe = load_recipe({**VALUES, "train": {**VALUES["train"], "batch": 16, **train}}, registry=registry)
    torch.manual_seed(0)
    dtype = torch.float64 if double else torch.float32
    objective = objective_of(recipe, build(recipe, registry=registry, dtype=dtype))
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


def first_gradients(world: Distributed, **train: Any) -> dict[str, Tensor]:
    """After the exchange, before they are clipped."""
    own = trainer(world, clip=None, **train)
    found = {}

    def look(*_: Any, **__: Any) -> None:
        for name, each in own.state.parameters.items():
            gradient = each.grad
            found[name] = (gradient.full_tensor() if isinstance(gradient, DTensor) else gradient).clone()

    own.updates.step = look
    own.ahead = False
    next(own.run(1))
    return found


@pytest.mark.parametrize(
    ("ranks", "train"),
    [
        (2, {"parallel": "ddp"}),
        (2, {"parallel": "ddp", "accumulate": 4}),
        (2, {"parallel": "fsdp"}),
        (4, {"parallel": "fsdp", "shard_within": 2}),
    ],
    ids=str,
)
def test_gradients_may_be_rounded_on_their_way(ranks: int, train: dict[str, Any]) -> None:
    plain, narrow = (
        run_ranks(lambda world, reduce=reduce: first_gradients(world, reduce=reduce, **train), ranks, group=True)
        for reduce in ("float32", "bfloat16")
    )
    assert not any(isinstance(each, Exception) for each in (*plain, *narrow)), narrow
    for name, exact in plain[0].items():
        rounded = narrow[0][name]
        assert all(torch.equal(rounded, each[name]) for each in narrow)
        assert rounded.dtype == torch.float32
        assert torch.equal(rounded, rounded.bfloat16().float())
        assert (rounded - exact).abs().max() <= 2**-6 * exact.abs().max()
    assert not all(torch.equal(each, each.bfloat16().float()) for each in plain[0].values())


def test_passes_of_a_gradient_are_not_added_up_in_bfloat16() -> None:
    """As FSDP2 would: its error grows with their number."""
    with pytest.raises(
        RecipeError, match=r"would add up the 2 passes of train.accumulate too under FSDP; take float32"
    ):
        load_recipe("digits_dit", ["train.parallel=fsdp", "train.reduce=bfloat16", "train.accumulate=2"], Registry())


def patiences(world: Distributed, **train: Any) -> set[timedelta]:
    """Of all groups that the weights are shared out in."""
    own = trainer(world, parallel="fsdp", timeout=123.0, **train)
    (mesh,) = {each.device_mesh for each in own.state.parameters.values() if isinstance(each, DTensor)}
    return {group._get_backend(torch.device("cpu")).options._timeout for group in mesh.get_all_groups()}


@pytest.mark.parametrize(("ranks", "train"), [(2, {}), (4, {"shard_within": 2})], ids=str)
def test_groups_are_as_patient_as_all_processes(ranks: int, train: dict[str, Any]) -> None:
    """PyTorch's own would end a process after half an hour, or ten minutes of NCCL, whatever the recipe says."""
    assert run_ranks(lambda world: patiences(world, **train), ranks, group=True) == [{PATIENCE}] * ranks


# -- groups that share the weights out ------------------------------------------------------------------------------


def files_after(world: Distributed, double: bool, **train: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All that a checkpoint holds after two steps, and what of the weights is on this process."""
    own = trainer(world, double, **train)
    assert all(step.grad_norm > 0.5 for step in own.run(2))  # so that it is clipped
    local = {
        name: (each.to_local() if isinstance(each, DTensor) else each).clone()
        for name, each in own.state.parameters.items()
    }
    files = own.state.tensors(world)
    return {f"{file}/{name}": each for file, values in files.items() for name, each in values.items()}, local


@pytest.mark.parametrize("train", [{}, {"accumulate": 2, "optimizer": "muon"}], ids=str)
def test_groups_that_share_the_weights_out_train_as_ddp_does(train: dict[str, Any]) -> None:
    train = {"clip": 0.5, **train}
    (expected, _), *_ = run_ranks(lambda world: files_after(world, True, parallel="ddp", **train), 4)
    results = run_ranks(lambda world: files_after(world, True, parallel="fsdp", shard_within=2, **train), 4, group=True)
    found = results[0][0]
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=0.0, atol=1e-6 if "muon" in train.values() else 1e-10)
    first, second, *others = (local for _, local in results)
    assert all(
        torch.equal(one[name], again[name]) for one, again in zip((first, second), others, strict=True) for name in one
    )
    for name, part in first.items():
        assert torch.equal(torch.cat([part, second[name]]), found[f"model/{name.removeprefix('backbone.')}"])


# -- the update of the rows of a process ----------------------------------------------------------------------------


class OnShards(TorchDispatchMode):
    """Lists the operators that are called with DTensors, for each of which the host finds out how it is sharded."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(isinstance(each, DTensor) for each in tree_leaves((args, kwargs))):
            self.called.append(str(func))
        return func(*args, **(kwargs or {}))


def called_on_shards(world: Distributed, elementwise: bool) -> tuple[list[str], list[str]]:
    """In an update, and in the averages after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdamW, "elementwise", elementwise)
        own = trainer(world, parallel="fsdp")
        assert len(list(own.run(1))) == 1
        for each in own.state.parameters.values():
            each.grad = torch.zeros_like(each)
        with OnShards() as update:
            own.updates.step(0.1)
        with OnShards() as averages:
            own.state.average_in([0.9])
    return update.called, averages.called


def test_what_moves_each_number_by_itself_sees_no_shards() -> None:
    assert run_ranks(called_on_shards, 2, True, group=True) == [([], [])] * 2
    (update, averages), _ = run_ranks(called_on_shards, 2, False, group=True)
    assert update
    assert not averages


def restored(world: Distributed, elementwise: bool) -> dict[str, Tensor]:
    """All that a checkpoint would hold after three steps, the last by a trainer that took up what the first kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdamW, "elementwise", elementwise)
        first, second = trainer(world, parallel="fsdp"), trainer(world, parallel="fsdp")
        assert len(list(first.run(2))) == 2
        begun = flat(begun_state(second.updates))[0]
        kept = {name: each.clone() for name, each in flat(state_of(first.updates))[0].items()}
        assert {name: each.shape for name, each in begun.items()} == {name: each.shape for name, each in kept.items()}
        take(second.updates, nested(kept, {}), groups_of(first.updates))
        for name, each in first.state.parameters.items():
            second.state.parameters[name].detach().copy_(each.detach())
        second.step = 2
        assert [step.step for step in second.run(3)] == [3]
        return {
            f"{file}/{name}": each
            for file, values in second.state.tensors(world).items()
            for name, each in values.items()
            if file != "ema"  # which is not taken up here
        }


def test_what_is_kept_of_rows_is_kept_as_of_shards() -> None:
    found, expected = (run_ranks(restored, 2, elementwise, group=True)[0] for elementwise in (True, False))
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=0.0, atol=0.0, msg=name)
