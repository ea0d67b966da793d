"""FSDP2 as zoo's training shards a backbone by it: each block is gathered once a step, and its gradient shared once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import _set_pg_timeout
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard


def fully_sharded(
    module: nn.Module,
    blocks: Iterable[nn.Module],
    device: torch.device,
    size: int,
    within: int,
    timeout: timedelta,
    reduce: torch.dtype = torch.float32,
) -> None:
    """Share a module's weights out among processes, in place; every process calls it.

    What has been gathered for the forward pass is kept for the backward pass, since each block is called once. PyTorch
    would give it back and gather it again.

    Args:
        module: the same on all processes.
        blocks: in it, of which each is gathered by itself; all else is gathered at once.
        device: that the weights are on.
        size: number of processes.
        within: processes of a group, which shares out all weights; the groups have the same, and average gradients.
        timeout: after which an exchange ends a process, in groups as among all processes.
        reduce: dtype of gradients on their way between processes; float32 leaves them as they are. Where several
            passes make up a gradient, PyTorch adds them up in it too.
    """
    shape, names = ((size // within, within), ("groups", "within")) if within < size else ((size,), ("within",))
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=names)
    for group in mesh.get_all_groups() if within < size else ():  # which PyTorch gives its own
        _set_pg_timeout(timeout, group)
    policy = MixedPrecisionPolicy(reduce_dtype=reduce if reduce == torch.bfloat16 and size > 1 else None)
    for each in (*blocks, module):
        fully_shard(each, mesh=mesh, reshard_after_forward=False, mp_policy=policy)


def hold_back(module: nn.Module, wanted: bool) -> None:
    """Let whole gradients add up on each process, whose weights stay whole, until a pass in which it is not wanted.

    Args:
        module: which ``fully_sharded`` has shared out.
        wanted: for the next pass.
    """
    sharded = cast(Any, module)
    sharded.set_requires_gradient_sync(not wanted)
    sharded.set_reshard_after_backward(not wanted)
