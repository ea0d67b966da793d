"""Muon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from zoo.optim.adamw import AdamW, Beta
from zoo.optim.base import Optimizer, Weight
from zoo.registry import part


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
        betas: decay of AdamW's two moments.
        eps: added to the root of AdamW's second moment.
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
            from zoo.optim.sharded_muon import muon_for  # which takes half a second, where no FSDP is imported yet

            parameters = [each.parameter for each in own]
            built.append(muon_for(parameters)(parameters, lr=learning_rate, **self.options))
        if others:
            built.append(self.adamw.build(others, learning_rate * self.rest))
        return built
