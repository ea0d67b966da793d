"""What is computed in float32 or wider, also where training multiplies matrices in less."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Leave dtypes as they are; on the meta device nothing would change them."""
    available = torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()


def widened(*tensors: Tensor) -> list[Tensor]:
    """The tensors in float32, or as they are where that is wider."""
    return [each.float() if each.itemsize < 4 else each for each in tensors]
