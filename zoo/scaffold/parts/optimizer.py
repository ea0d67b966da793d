"""An optimizer: how weights are updated by their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

import zoo
from zoo.optim import Optimizer, Weight


@zoo.part("optimizer", "mine")
class MineOptimizer(Optimizer):
    """Example: by the sign of a mean of gradients; matrices alone decay: Lion (Chen et al., 2023, arXiv 2302.06675).

    Options:
        betas: decay of the mean that the sign is taken of, and of the one that is kept.
        weight_decay: share of a matrix that is taken off at a learning rate of 1.
    """

    def __init__(
        self,
        *,
        betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (0.9, 0.99),
        weight_decay: Annotated[float, Field(ge=0.0)] = 0.0,
    ) -> None:
        self.betas, self.weight_decay = betas, weight_decay

    def build(self, weights: Sequence[Weight], learning_rate: float) -> torch.optim.Optimizer:
        """A group for each role that there is."""
        by_role: dict[str, list[Weight]] = {}
        for each in weights:
            by_role.setdefault(each.role, []).append(each)
        groups = [
            {
                "params": [each.parameter for each in own],
                "weight_decay": self.weight_decay if role == "matrix" else 0.0,
            }
            for role, own in by_role.items()
        ]
        return Lion(groups, {"lr": learning_rate, "betas": self.betas})


class Lion(torch.optim.Optimizer):
    """Written in operators that whole tensors have and sharded ones."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all weights; zoo gives no closure."""
        for group in self.param_groups:
            lr, (fast, slow) = group["lr"], group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                mean = state["mean"]
                weight.mul_(1 - lr * group["weight_decay"])
                weight.sub_(torch.lerp(weight.grad, mean, fast).sign(), alpha=lr)
                mean.lerp_(weight.grad, 1 - slow)
