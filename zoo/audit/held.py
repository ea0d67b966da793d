"""The memory that training holds whatever the batch: weights, gradients, averages, and what the optimizer keeps."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from zoo.assembly import create_part
from zoo.audit.memory import DEVICE
from zoo.backbone import Backbone
from zoo.errors import AuditError, first_line
from zoo.flow import objective_of
from zoo.optim.updates import Updates
from zoo.recipe import Recipe


@dataclass(frozen=True)
class HeldMemory:
    """Bytes that one process holds through all of training; of several with ``train.parallel: fsdp``, all together.

    Attributes:
        weights: parameters, and fixed tables; those of losses too.
        gradients: of trainable parameters.
        averages: of the backbone's, in float32 or wider; all that ``train.ema`` asks for.
        optimizer: what it keeps of them after an update.
    """

    weights: int
    gradients: int
    averages: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.averages + self.optimizer


def held_memory(backbone: Backbone, recipe: Recipe) -> HeldMemory:
    """Make an update on fake tensors, and count what there is after it; nothing is allocated.

    Args:
        backbone: built on the meta device from the recipe. It is left as it was.
        recipe: its ``train.optimizer`` makes the update.

    Raises:
        AuditError: the optimizer does not run on fake tensors.
        PluginError: it is of a plug-in that is not here.
    """
    part, model = create_part(recipe, "optimizer"), objective_of(recipe, deepcopy(backbone))
    with FakeTensorMode(allow_non_fake_inputs=True):  # such as the weights on the meta device
        model.to_empty(device=DEVICE)
        options = recipe.train
        updates = Updates(part, model, model.backbone.blocks, options.learning_rate, options.learning_rate_of)
        trained = [each.parameter for each in updates.weights]
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        try:
            updates.step(recipe.train.learning_rate)
        except Exception as error:
            raise AuditError(
                f"train.optimizer {recipe.train.optimizer.type}: what it keeps cannot be told, since it does not run on"
                f" fake tensors: {type(error).__name__}: {first_line(error)}"
            ) from error
        average = sum(
            each.numel() * torch.promote_types(each.dtype, torch.float32).itemsize
            for each in model.backbone.parameters()
            if each.requires_grad
        )
        kept = [leaf for each in updates.optimizers for leaf in tree_leaves(list(each.state.values()))]
        return HeldMemory(
            weights=_bytes([*model.parameters(), *model.buffers()]),
            gradients=_bytes(trained),
            averages=len(recipe.train.averages) * average,
            optimizer=_bytes(leaf for leaf in kept if isinstance(leaf, Tensor)),
        )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.nbytes for each in tensors)
