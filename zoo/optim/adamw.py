"""AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from zoo.optim.base import Optimizer, Weight
from zoo.registry import part

FUSED = frozenset({"cpu", "cuda", "mps", "xpu"})
"""Devices on which PyTorch updates all parameters in one kernel."""

Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


@part("optimizer", "adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv 1711.05101, algorithm 2), PyTorch's.

    Options:
        betas: decay of the two moments.
        eps: added to the root of the second moment.
        weight_decay: share of a weight that is taken off at a learning rate of 1.
        decays: which weights decay: all, or matrices alone, and no norms, biases, embeddings and tables.
    """

    elementwise: ClassVar[bool] = True

    def __init__(
        self,
        *,
        betas: tuple[Beta, Beta] = (0.9, 0.999),
        eps: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-8,
        weight_decay: Annotated[float, Field(ge=0.0)] = 0.0,
        decays: Literal["all", "matrices"] = "all",
    ) -> None:
        self.betas, self.eps, self.weight_decay, self.decays = betas, eps, weight_decay, decays

    def build(self, weights: Sequence[Weight], learning_rate: float) -> torch.optim.Optimizer:
        """In its fused form where the device has it."""
        return torch.optim.AdamW(
            decay_groups(weights, self.weight_decay, self.decays),
            lr=learning_rate,
            betas=self.betas,
            eps=self.eps,
            fused=all(each.parameter.device.type in FUSED for each in weights) or None,
        )


def decay_groups(weights: Sequence[Weight], decay: float, decays: Literal["all", "matrices"]) -> list[dict[str, Any]]:
    """Groups of those that decay, and of those that do not; none is empty."""
    falling = [each for each in weights if decays == "all" or each.role == "matrix"]
    staying = [each for each in weights if each not in falling]
    groups = ((falling, decay), (staying, 0.0))
    return [{"params": [each.parameter for each in own], "weight_decay": value} for own, value in groups if own]
