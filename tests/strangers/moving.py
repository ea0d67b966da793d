"""How a stranger's weights move: AdEMAMix (Pagliardini et al., 2024, arXiv 2409.03137), and warm restarts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

import zoo
from zoo.optim import Optimizer, Schedule, Weight


@zoo.part("optimizer", "ademamix")
class AdEMAMix(Optimizer):
    """Adam with a second mean of gradients that forgets slowly (algorithm 1); half as fast in embeddings.

    Options:
        alpha: weight of the slow mean, to which it rises.
        over: updates over which it does.
        weight_decay: of matrices.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(ge=0.0, le=20.0)] = 5.0,
        over: Annotated[int, Field(ge=1, le=10_000_000)] = 1000,
        weight_decay: Annotated[float, Field(ge=0.0)] = 0.0,
    ) -> None:
        self.alpha, self.over, self.weight_decay = alpha, over, weight_decay

    def build(self, weights: Sequence[Weight], learning_rate: float) -> torch.optim.Optimizer:
        """A group for matrices, for embeddings and for all else, of those that there are."""
        groups: dict[str, dict[str, Any]] = {}
        for each in weights:
            role = each.role if each.role in ("matrix", "embedding") else "other"
            decay = self.weight_decay if role == "matrix" else 0.0
            rate = learning_rate / 2 if role == "embedding" else learning_rate
            group = groups.setdefault(role, {"params": [], "weight_decay": decay, "lr": rate})
            group["params"].append(each.parameter)
        return Mixed(groups.values(), {"alpha": self.alpha, "over": self.over, "updates": 0})


class Mixed(torch.optim.Optimizer):
    """Counts its updates by group, and keeps three means of each weight."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all weights."""
        for group in self.param_groups:
            group["updates"] += 1
            for weight in group["params"]:
                self._update(weight, group)

    def _update(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        gradient, state, count = weight.grad, self.state[weight], group["updates"]
        assert gradient is not None
        if not state:
            state.update({name: torch.zeros_like(weight) for name in ("fast", "slow", "square")})
        state["fast"].lerp_(gradient, 0.1)
        state["slow"].lerp_(gradient, 0.0001)
        state["square"].lerp_(gradient.square(), 0.001)
        alpha = group["alpha"] * min(1.0, count / group["over"])
        root = (state["square"] / (1 - 0.999**count)).sqrt() + 1e-8
        move = (state["fast"] / (1 - 0.9**count) + alpha * state["slow"]) / root
        weight.sub_(move + group["weight_decay"] * weight, alpha=group["lr"])


@zoo.part("schedule", "restarts")
class RestartsSchedule(Schedule):
    """Half a cosine, again and again (Loshchilov and Hutter, 2017, arXiv 1608.03983, section 3).

    Options:
        period: updates from one start to the next.
        floor: the factor that it falls to.
    """

    def __init__(
        self,
        *,
        period: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000,
        floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0,
    ) -> None:
        self.period, self.floor = period, floor

    def factor(self, step: int, steps: int) -> float:
        """It knows of no end."""
        share = (step % self.period) / self.period
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * share)) / 2


PARTS = [AdEMAMix, RestartsSchedule]
