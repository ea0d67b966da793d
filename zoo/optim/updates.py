"""The optimizers that a part has built, as one: each weight is in them once, and their learning rates move together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from zoo.errors import PluginError, listed
from zoo.optim.base import Optimizer, Role, Weight
from zoo.shards import local
from zoo.weight_patterns import factors

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
SHOWN = 3
LEAVING_OUT = (torch.optim.Adam, torch.optim.AdamW)
"""Optimizers that leave out an update whole where they are fused. What derives from them may move weights beside it,
and the momentum of a fused SGD whose first update is left out begins with what memory holds."""
NO_FACTORS: Mapping[str, float] = MappingProxyType({})
CLIP_EPS = 1e-6
"""Added to the norm, as ``torch.nn.utils.clip_grad_norm_`` does."""


class Updates:
    """Updates all trainable weights of a module.

    Args:
        part: builds the optimizers.
        module: whose weights are updated; its parameters may be sharded.
        blocks: modules in it whose weights are of blocks.
        learning_rate: ``train.learning_rate``.
        learning_rate_of: factors of it by patterns of names, ``train.learning_rate_of``: the part builds an optimizer
            of the weights of each factor.

    Attributes:
        weights: those that are updated.
        given: the same as the optimizers have them: of one that is elementwise, the rows of this process.
        optimizers: PyTorch's.

    Raises:
        PluginError: the part has built something else than its kind promises.
    """

    def __init__(
        self,
        part: Optimizer,
        module: nn.Module,
        blocks: Iterable[nn.Module],
        learning_rate: float,
        learning_rate_of: Mapping[str, float] = NO_FACTORS,
    ) -> None:
        self.module, self.weights = module, weights_of(module, blocks)
        apart = part.elementwise and any(isinstance(each.parameter, DTensor) for each in self.weights)
        self.given = [_rows(each) for each in self.weights] if apart else self.weights
        self.optimizers = tuple(
            each
            for factor, own in _by_factor(self.given, learning_rate_of).items()
            for each in _several(part.build(own, learning_rate * factor))
        )
        self._refuse_misfits(f"optimizer {type(part).__qualname__}")
        self._scales = [[group["lr"] / learning_rate for group in each.param_groups] for each in self.optimizers]

    def zero_grad(self) -> None:
        """Forget the gradients of all weights."""
        for each in self.optimizers:
            each.zero_grad(set_to_none=True)
        for weight, _ in self._apart():
            weight.grad = None

    @property
    def can_leave_out(self) -> bool:
        """Whether the optimizers can clip and leave out an update on the device."""
        return all(
            type(each) in LEAVING_OUT and all(group["fused"] for group in each.param_groups) for each in self.optimizers
        )

    def step_if(self, sound: Tensor, norm: Tensor, learning_rate: float, clip: float | None) -> None:
        """Update all weights by gradients of this norm [], clipped to ``clip``, where ``sound`` []; waits for nothing.

        What PyTorch's GradScaler hands to fused optimizers says both.
        """
        scale = None if clip is None else ((norm + CLIP_EPS) / clip).clamp(min=1.0).float()
        left_out = sound.logical_not().float()
        for each in self.optimizers:
            each.grad_scale, each.found_inf = scale, left_out
        try:
            self.step(learning_rate)
        finally:
            for each in self.optimizers:
                del each.grad_scale, each.found_inf

    def step(self, learning_rate: float) -> None:
        """Update all weights, where ``train.learning_rate`` is this one."""
        for weight, given in self._apart():
            given.data, gradient = local(weight), weight.grad
            given.grad = None if gradient is None else local(gradient)
        for each, scales in zip(self.optimizers, self._scales, strict=True):
            for group, scale in zip(each.param_groups, scales, strict=True):
                group["lr"] = learning_rate * scale
            each.step()
        for _, given in self._apart():
            given.grad = None

    def _apart(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Weights of which the optimizers have the rows of this process, and these."""
        both = zip(self.weights, self.given, strict=True)
        return [(weight.parameter, given.parameter) for weight, given in both if weight is not given]

    def _refuse_misfits(self, what: str) -> None:
        wrong = [each for each in self.optimizers if not isinstance(each, torch.optim.Optimizer)]
        if wrong or not self.optimizers:
            name = type(wrong[0]).__name__ if wrong else "nothing"
            raise PluginError(f"{what}: builds {name} in place of a torch.optim.Optimizer, or several")
        groups: list[dict[str, Any]] = [group for each in self.optimizers for group in each.param_groups]
        count = Counter(id(parameter) for group in groups for parameter in group["params"])
        missing = [each.name for each in self.given if not count[id(each.parameter)]]
        twice = [each.name for each in self.given if count[id(each.parameter)] > 1]
        if missing:
            raise PluginError(f"{what}: has {listed(missing, SHOWN)} in no group; each weight belongs in one")
        if twice:
            raise PluginError(f"{what}: has {listed(twice, SHOWN)} in several groups; each weight belongs in one")
        if len(count) > len(self.weights):
            raise PluginError(f"{what}: has weights in its groups that it was not given; let it take none but these")


def weights_of(module: nn.Module, blocks: Iterable[nn.Module]) -> list[Weight]:
    """The trainable weights of a module, in the order of its state dict, and what each is for.

    Args:
        module: the backbone, or anything around it.
        blocks: modules in it whose weights are of blocks.
    """
    in_blocks = {id(parameter) for block in blocks for parameter in block.parameters()}
    owners = {
        id(parameter): (owner, name)
        for owner in module.modules()
        for name, parameter in owner.named_parameters(recurse=False)
    }
    return [
        Weight(name, parameter, _role(*owners[id(parameter)], parameter), id(parameter) in in_blocks)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]


def _by_factor(weights: Sequence[Weight], learning_rate_of: Mapping[str, float]) -> dict[float, Sequence[Weight]]:
    """Weights by what their learning rate is multiplied by; all of them, where none has a factor."""
    found: dict[float, list[Weight]] = {}
    by_name = factors([each.name for each in weights], learning_rate_of)
    for each in weights:
        found.setdefault(by_name[each.name], []).append(each)
    return {**found} or {1.0: weights}


def _several(built: Any) -> Sequence[Any]:
    return built if isinstance(built, list | tuple) else (built,)


def _rows(weight: Weight) -> Weight:
    """A weight of which this process has some rows, as these; they are in the same memory. Any other is itself."""
    if not isinstance(weight.parameter, DTensor):
        return weight
    return replace(weight, parameter=nn.Parameter(local(weight.parameter)))


def _role(owner: nn.Module, name: str, parameter: nn.Parameter) -> Role:
    if name == "bias":
        return "bias"
    if isinstance(owner, NORMS) or getattr(type(owner), "kind", None) == "norm":
        return "norm"
    if isinstance(owner, nn.Embedding):
        return "embedding"
    return "matrix" if name == "weight" and parameter.ndim >= 2 else "table"
