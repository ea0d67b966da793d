"""DistributedDataParallel as zoo's training wraps a backbone in it."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# Buffers are tables, the same everywhere. The option's name depends on the version of PyTorch.
_WITHOUT_BUFFERS: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in signature(DistributedDataParallel.__init__).parameters
    else {"broadcast_buffers": False}
)


def data_parallel(
    module: nn.Module, device: torch.device | None = None, reduce: torch.dtype = torch.float32
) -> DistributedDataParallel:
    """A module whose gradients are those of all ranks' samples: every rank uses every parameter in every step.

    Args:
        module: the same on all ranks.
        device: that it is on; the CPU if left out.
        reduce: dtype of gradients on their way between ranks; float32 leaves them as they are.
    """
    device_ids = [device.index] if device is not None and device.type == "cuda" else None
    spread = DistributedDataParallel(module, device_ids=device_ids, gradient_as_bucket_view=True, **_WITHOUT_BUFFERS)
    if reduce == torch.bfloat16:
        spread.register_comm_hook(None, lambda _, bucket: _in_bfloat16(bucket))  # it takes no annotations of text
    return spread


def _in_bfloat16(bucket: Any) -> torch.futures.Future[torch.Tensor]:
    """The mean of a bucket over ranks. PyTorch has such a hook, which DDP takes on GPUs alone."""
    whole = bucket.buffer()
    narrow = whole.bfloat16().div_(dist.get_world_size())
    work = dist.all_reduce(narrow, async_op=True)
    assert work is not None
    return work.get_future().then(lambda found: whole.copy_(found.value()[0]))
