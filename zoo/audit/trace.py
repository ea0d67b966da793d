"""A stage of a backbone at batch 1, counted by part and by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.audit.counting import Traced, count, macs_of
from zoo.audit.operators import ATTENTION
from zoo.audit.untraceable import why_untraceable
from zoo.backbone import Backbone
from zoo.labels import Labels


@dataclass(frozen=True)
class StageCount:
    """Exact counts of one stage at batch 1.

    Attributes:
        macs: multiply-adds.
        norm_ops: operations of norms, apart from ``macs``.
        products: elementwise products, apart from ``macs``; None where a part declares its own count.
        attention_macs: multiply-adds of attention, fused or declared, part of ``macs``.
        modules: multiply-adds of every sub-module of the backbone by its dotted name.
        attention: those of attention, likewise.
    """

    macs: int
    norm_ops: int
    products: int | None
    attention_macs: int
    modules: dict[str, int]
    attention: dict[str, int]


class OneStage(nn.Module):
    """A backbone that is fed one stage alone, since a trace follows one branch.

    Args:
        backbone: to trace.
        stage: its number.
        used: tensors that the trace is to take for results too, put in during the pass.
        routed: whether a router leaves out tokens, as in training.
    """

    def __init__(self, backbone: Backbone, stage: int, used: Sequence[Tensor], *, routed: bool) -> None:
        super().__init__()
        self.whole, self.stage, self.used, self.routed = backbone, stage, used, routed

    def forward(self, latents: Tensor, t: Tensor, labels: Labels) -> tuple[Tensor, ...]:
        """The stage's velocity ``[B, C, *size]``, and what else is used."""
        kept = self.whole.scores_of(self.stage) if self.routed else 0
        scores = torch.empty(len(latents), kept, device=latents.device) if kept else None
        velocity = self.whole.forward_stage(self.stage, latents, t, labels, scores=scores)
        if (
            not isinstance(velocity, Tensor) or velocity.shape != latents.shape
        ):  # which no part after the head would see
            raise ValueError("the head returned no latents; let its forward return them")
        return velocity, *self.used


def example_inputs(backbone: Backbone, stage: int, batch: int = 1) -> tuple[Tensor, Tensor, Labels]:
    """Inputs of ``OneStage`` on the meta device: latents, noise levels and labels."""
    dtype = next(backbone.parameters()).dtype
    latents = torch.empty(batch, *backbone.latent_of(stage), dtype=dtype, device="meta")
    t = torch.empty(batch, dtype=dtype, device="meta")
    return latents, t, backbone.conditioner.example_labels(batch, device="meta")


def count_stage(backbone: Backbone, stage: int, *, routed: bool = False) -> StageCount:
    """Count one stage of a backbone that was built on the meta device, in evaluation mode.

    Args:
        backbone: on the meta device.
        stage: its number.
        routed: let its router leave out tokens, as in training; in sampling it keeps all.

    Raises:
        AuditError: an operator is neither counted nor known to be negligible; or a part fails, does not trace, or
            declares what cannot be.
    """
    inputs = example_inputs(backbone, stage)
    counts = count(
        Traced(
            whole=backbone,
            wrap=lambda used: OneStage(backbone, stage, used, routed=routed),
            inputs=inputs,
            called=f"stage {stage}",
            why=lambda error: why_untraceable(backbone, stage, inputs, error),
        )
    )
    declared = counts.declared
    return StageCount(
        macs=counts.macs,
        norm_ops=counts.norm_ops,
        products=counts.products,
        attention_macs=counts.traced[""][ATTENTION] + declared.total("attention_macs"),
        modules=_by_module(backbone, counts.traced, macs_of, declared.each("macs")),
        attention=_by_module(
            backbone, counts.traced, lambda counter: counter[ATTENTION], declared.each("attention_macs")
        ),
    )


def _by_module(
    backbone: Backbone,
    counts: dict[str, Counter[str]],
    measure: Callable[[Counter[str]], int],
    declared: dict[str, int],
) -> dict[str, int]:
    """A measure by dotted name; a module that is not called itself, as a list or a router, has that of its members."""
    modules = {name: measure(counter) for name, counter in counts.items() if name}
    for name, module in reversed(list(backbone.named_modules())):  # members stand behind those that hold them
        if name and not modules.get(name):
            modules[name] = sum(modules.get(f"{name}.{key}", 0) for key, _ in module.named_children())
    for name, own in declared.items():
        for ancestor in _with_ancestors(name):
            modules[ancestor] += own
    return modules


def _with_ancestors(name: str) -> Iterator[str]:
    keys = name.split(".")
    for length in range(1, len(keys) + 1):
        yield ".".join(keys[:length])
