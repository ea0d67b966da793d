"""DistributedDataParallel as zoo's training wraps a backbone in it."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# Buffers are tables, the same everywhere. The option's name depends on the version of PyTorch.
_WITHOUT_BUFFERS: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in signature(DistributedDataParallel.__init__).parameters
    else {"broadcast_buffers": False}
)


def data_parallel(module: nn.Module, device: torch.device | None = None) -> DistributedDataParallel:
    """A module whose gradients are those of all ranks' samples: every rank uses every parameter in every step.

    Args:
        module: the same on all ranks.
        device: that it is on; the CPU if left out.
    """
    device_ids = [device.index] if device is not None and device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=device_ids, gradient_as_bucket_view=True, **_WITHOUT_BUFFERS)
