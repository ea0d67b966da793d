"""Muon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from zoo.optim.adamw import AdamW, Beta
from zoo.optim.base import Optimizer, Weight
from zoo.registry import part
from zoo.shards import whole


@part("optimizer", "muon")
class Muon(Optimizer):
    """PyTorch's Muon for matrices of the blocks, and AdamW for all else (Jordan et al., 2024, kellerjordan.github.io).

    A matrix moves along its mean gradient with all singular values near 1, which steps of Newton-Schulz make of it.

    Options:
        momentum: decay of the mean gradient, which Nesterov's way looks ahead in.
        scale: of a matrix [A, B]: ``adamw`` is 0.2 sqrt(max(A, B)), about as large as AdamW's updates, so that one
            learning rate does for both (Liu et al., 2025, arXiv 2502.16982, section 2.2); ``original`` is
            sqrt(max(1, A / B)).
        rest: learning rate of all else, as a factor of that of the matrices.
        betas: AdamW's.
        eps: AdamW's.
        weight_decay: share of a weight that is taken off at a learning rate of 1.
        decays: which weights decay: all, or matrices alone, and no norms, biases, embeddings and tables.
    """

    def __init__(
        self,
        *,
        momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.95,
        scale: Literal["adamw", "original"] = "adamw",
        rest: Annotated[float, Field(gt=0.0)] = 1.0,
        betas: tuple[Beta, Beta] = (0.9, 0.999),
        eps: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-8,
        weight_decay: Annotated[float, Field(ge=0.0)] = 0.0,
        decays: Literal["all", "matrices"] = "all",
    ) -> None:
        self.rest = rest
        self.adamw = AdamW(betas=betas, eps=eps, weight_decay=weight_decay, decays=decays)
        self.options: dict[str, Any] = {
            "momentum": momentum,
            "weight_decay": weight_decay,
            "adjust_lr_fn": "match_rms_adamw" if scale == "adamw" else "original",
        }

    def build(self, weights: Sequence[Weight], learning_rate: float) -> list[torch.optim.Optimizer]:
        """One or two optimizers, as there are such weights."""
        own = [each for each in weights if each.in_block and each.role == "matrix" and each.parameter.ndim == 2]
        others = [each for each in weights if each not in own]
        built: list[torch.optim.Optimizer] = []
        if own:
            sharded = any(isinstance(each.parameter, DTensor) for each in own)
            cls = ShardedMuon if sharded else torch.optim.Muon
            built.append(cls([each.parameter for each in own], lr=learning_rate, **self.options))
        if others:
            built.append(self.adamw.build(others, learning_rate * self.rest))
        return built


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
