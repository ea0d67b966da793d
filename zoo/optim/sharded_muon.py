"""PyTorch's Muon for matrices that FSDP has shared out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from zoo.shards import whole


def muon_for(parameters: Sequence[Tensor]) -> type[torch.optim.Muon]:
    """PyTorch's own, unless some of the matrices are shards."""
    return ShardedMuon if any(isinstance(each, DTensor) for each in parameters) else torch.optim.Muon


class ShardedMuon(torch.optim.Muon):
    """The same for matrices of which every process has some rows: means are kept of those, and one matrix after the
    other is gathered while its singular values are made equal, which needs all of it."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all matrices; every process must take part."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        move = _moved(whole(gradient.lerp(mean, group["momentum"])), group)
        if isinstance(weight, DTensor):
            move = distribute_tensor(move, weight.device_mesh, weight.placements, src_data_rank=None)
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(move)


def _moved(gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Where PyTorch's Muon would move a matrix of zeros along a gradient [A, B], with no momentum."""
    matrix = nn.Parameter(torch.zeros_like(gradient))
    matrix.grad = gradient
    own = {key: group[key] for key in ("lr", "adjust_lr_fn", "ns_coefficients", "ns_steps", "eps")}
    torch.optim.Muon([matrix], momentum=0.0, weight_decay=0.0, **own).step()  # type: ignore[no-untyped-call]
    return matrix.detach()
