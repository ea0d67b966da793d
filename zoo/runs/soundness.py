"""Whether tensors are finite, at the price of reading each once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


@torch.no_grad()
def not_finite(tensors: Mapping[str, Tensor]) -> Mapping[str, bool]:
    """Which of the tensors hold NaN or infinity, of shards those of this process; a GPU is waited for once.

    The largest absolute value tells it: it takes no memory, and where there is a NaN, it is one.
    """
    local = [each.to_local() if isinstance(each, DTensor) else each for each in tensors.values()]
    sound = [
        torch.linalg.vector_norm(each, torch.inf).isfinite()
        if _can_be_infinite(each)
        else each.new_ones((), dtype=torch.bool)
        for each in local
    ]
    return dict(zip(tensors, (~torch.stack(sound)).tolist() if sound else [], strict=True))


def _can_be_infinite(tensor: Tensor) -> bool:
    return bool(tensor.numel()) and (tensor.is_floating_point() or tensor.is_complex())
