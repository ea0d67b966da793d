"""The activation memory of training: what one more sample adds to the peak of a forward and backward pass.

The pass that the trainer makes is run on PyTorch's fake tensors: they have shapes, dtypes and lifetimes, and no memory.
Unlike tensors on the meta device, they take the kernels of a real device, so that attention is fused, as in training.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.backbone import Backbone
from zoo.compiling import recompute_blocks
from zoo.errors import AuditError, first_line
from zoo.flow import Objective, StageBatch, objective_of, total
from zoo.flow.precision import clock_dtype
from zoo.recipe import Recipe
from zoo.schedule import shares

BATCH = 2**20
"""Samples of a fake pass, beside which what does not grow with the batch is nothing: 4 bytes per million weights."""

DEVICE = torch.device("cpu")
"""Whose kernels and autocast fake tensors take: the one device that every PyTorch has."""


@dataclass(frozen=True)
class ActivationMemory:
    """What one more sample of a pass (a rank's batch over ``train.accumulate``) adds to its peak of memory.

    Attributes:
        stage_bytes: for a sample of each stage, noisiest first.
        mean_bytes: the mean over uniform noise levels. A batch in which every stage has its share needs some hundredths
            more, since rows of all stages are joined for a Linear while those of each are still there.
    """

    stage_bytes: tuple[int, ...]
    mean_bytes: int


def activation_memory(backbone: Backbone, recipe: Recipe) -> ActivationMemory:
    """Run a training pass of every stage without allocating it, and tell how much memory it would have held at most.

    All that grows with the batch is in it: what the forward pass keeps for the backward pass, gradients of
    activations and, with ``train.checkpoint_activations``, the block that is being computed anew. What does not grow is
    not: weights, their gradients and their bfloat16 copies, the optimizer, the averaged weights, position tables. (In a
    pass of so few samples that these gradients outweigh the activations, the peak is at its end, and grows by less.)
    ``train.precision`` counts by autocast's rules for the CPU. Not estimated: ``train.compile``, which fuses operators
    and so mostly keeps less; what a kernel takes for itself while it runs; and gaps between an allocator's blocks.

    Args:
        backbone: built on the meta device from the recipe. It is left as it was.
        recipe: its ``objective`` and ``train`` say by what the backbone is to be trained, and how.

    Raises:
        AuditError: a part does not run on fake tensors.
    """
    bytes_of_stages = tuple(_peak_bytes(backbone, stage, recipe) for stage in range(len(backbone.stages)))
    weighted = (size * share for size, share in zip(bytes_of_stages, shares(backbone.stages), strict=True))
    return ActivationMemory(bytes_of_stages, round(sum(weighted, Fraction(0))))


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operators make while it is active, real ones or fake, for as long as they live.

    Attributes:
        now: bytes of those that are alive.
        peak: the most that there were at a time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and count what it has made."""
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        for storage in _made(outputs, (args, kwargs)):
            self.now += storage.nbytes()
            weakref.finalize(storage, self._free, storage.nbytes()).atexit = False
        self.peak = max(self.peak, self.now)
        return outputs

    def _free(self, size: int) -> None:
        self.now -= size


def samples_of(objective: Objective, stage: int, count: int) -> StageBatch:
    """Samples of a stage, of no values in particular, as the objective takes them."""
    model = objective.backbone
    dtype = next(model.parameters()).dtype
    latent = model.latent if model.path.resizes else model.latent_of(stage)
    data, noise = (torch.empty(count, *latent, dtype=dtype, device=DEVICE) for _ in range(2))
    t = torch.empty(count, dtype=clock_dtype(dtype), device=DEVICE)
    labels = model.conditioner.example_labels(count, device=DEVICE)
    scores = torch.empty(count, model.scores_of(stage), device=DEVICE) if model.scores else None
    extra = {name: each.to(DEVICE) for name, each in objective.example_extra(count, model.shape.size).items()}
    return StageBatch(stage, data, noise, t, labels, scores, extra)


def _made(outputs: Any, inputs: Any) -> set[UntypedStorage]:
    """Storages that outputs do not share with inputs, as a view or what is written in place does."""
    return _storages(outputs) - _storages(inputs)


def _storages(values: Any) -> set[UntypedStorage]:
    return {value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor)}


def _peak_bytes(backbone: Backbone, stage: int, recipe: Recipe) -> int:
    """Bytes per sample at the peak of a pass whose samples are all of one stage."""
    objective = objective_of(recipe, deepcopy(backbone)).train()
    model, options = objective.backbone, recipe.train
    if options.checkpoint_activations is True:
        recompute_blocks(model.blocks)
    with FakeTensorMode(allow_non_fake_inputs=True):  # such as the weights on the meta device
        objective.to_empty(device=DEVICE)
        batch = samples_of(objective, stage, BATCH)
        one = torch.ones_like(batch.t)
        live = LiveBytes()
        try:
            with live:
                with torch.autocast(DEVICE.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
                    values = objective([batch])
                total(objective.terms, values, one, one).mean().backward()  # type: ignore[no-untyped-call]
        except Exception as error:
            raise AuditError(
                f"stage {stage}: memory in training cannot be estimated, since a part does not run on fake tensors:"
                f" {type(error).__name__}: {first_line(error)}. A forward pass must not look at values, which they do"
                " not have"
            ) from error
    return live.peak // BATCH
