"""Tensors that FSDP has shared out among processes, gathered by plain collectives.

``DTensor.full_tensor`` takes PyTorch's functional ones, in whose ``wait_tensor`` a process of a gloo group has crashed
(a segmentation fault, seldom and not at will), and a process that crashes loses the steps since the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, Shard


@torch.no_grad()
def local(tensor: Tensor) -> Tensor:
    """The rows of a tensor that this process has, in the same memory; any other tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """The full tensor of this process's shard [rows, ...]; any other tensor itself. Every process must take part."""
    if not isinstance(tensor, DTensor):
        return tensor
    *between, within = tensor.placements  # groups, which all have the same, and processes of a group
    if any(each != Replicate() for each in between) or within not in (Replicate(), Shard(0)):
        return tensor.full_tensor()  # by no optimizer of PyTorch's
    if within == Replicate():
        return tensor.to_local()
    own, rows = tensor.to_local(), len(tensor)
    share = -(-rows // tensor.device_mesh.size(-1))  # of each process but the last ones, which have fewer or none
    padded = own.new_zeros(share, *tensor.shape[1:])
    padded[: len(own)] = own
    return _gathered(padded, tensor)[:rows]


@torch.no_grad()
def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The norm [] of all tensors as if they were one, of shards on every process; every process must take part."""
    norm = nn.utils.get_total_norm([local(each) for each in tensors])
    sharded = next((each for each in tensors if isinstance(each, DTensor)), None)
    return norm if sharded is None else torch.linalg.vector_norm(_gathered(norm[None], sharded))


def _gathered(own: Tensor, sharded: DTensor) -> Tensor:
    """The tensors [rows, ...] of all processes among which ``sharded`` is shared out, in one, by rank."""
    group = sharded.device_mesh.get_group(sharded.device_mesh.ndim - 1)
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, own, group)
    return torch.cat(parts)
