"""What fvcore counts on the meta device: a stage of a backbone at batch 1, by part and by operator."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from zoo.audit.operators import ATTENTION, COUNTED, NEGLIGIBLE, NORMS, norm_operations
from zoo.backbone import Backbone
from zoo.errors import AuditError
from zoo.parts.base import Declared, ModulePart


@dataclass(frozen=True)
class StageCount:
    """Exact counts of one stage at batch 1.

    Attributes:
        macs: multiply-adds.
        norm_ops: operations of norms, apart from ``macs``.
        attention_macs: multiply-adds of fused attention, part of ``macs``.
        modules: multiply-adds of every sub-module of the backbone by its dotted name.
    """

    macs: int
    norm_ops: int
    attention_macs: int
    modules: dict[str, int]


class OneStage(nn.Module):
    """A backbone that is fed one stage alone, since a trace follows one branch."""

    def __init__(self, backbone: Backbone, stage: int) -> None:
        super().__init__()
        self.backbone, self.stage = backbone, stage

    def forward(self, latents: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The stage's velocity ``[B, C, H, W]``."""
        return self.backbone.forward_stage(self.stage, latents, t, labels)


def example_inputs(backbone: Backbone, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of ``OneStage`` on the meta device: latents, noise levels and labels."""
    dtype = next(backbone.parameters()).dtype
    latents = torch.empty(batch, *backbone.latent, dtype=dtype, device="meta")
    t = torch.empty(batch, dtype=dtype, device="meta")
    return latents, t, backbone.class_conditioner.example_labels(batch, device="meta")


def count_stage(backbone: Backbone, stage: int) -> StageCount:
    """Count one stage of a backbone that was built on the meta device.

    Raises:
        AuditError: an operator is neither counted nor known to be negligible, or a part does not trace.
    """
    module = OneStage(backbone, stage)
    with _declarations(backbone) as declared, _quiet():
        analysis = FlopCountAnalysis(module, example_inputs(backbone)).clear_op_handles()
        analysis.set_op_handle(**COUNTED, **{name: norm_operations(weight) for name, weight in NORMS.items()})
        analysis.set_op_handle(**dict.fromkeys(NEGLIGIBLE))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        try:
            counts = analysis.by_module_and_operator()
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            first = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise AuditError(
                f"stage {stage} does not trace on the meta device: {first[0]}. A part with convolutions (or an"
                " einsum of more than two operands) declares its own count: see ModulePart.declare"
            ) from error
    unknown = analysis.unsupported_ops()
    if unknown:
        raise AuditError(_unknown_message(analysis, unknown))
    norms = {name.removeprefix("aten::") for name in NORMS}
    total = counts[""]
    modules = {
        name.removeprefix("backbone."): sum(count for op, count in counter.items() if op not in norms)
        for name, counter in counts.items()
        if name.startswith("backbone.")
    }
    for name, own in declared.items():
        for ancestor in _with_ancestors(name):
            modules[ancestor] = modules.get(ancestor, 0) + own.macs
    return StageCount(
        macs=int(sum(count for op, count in total.items() if op not in norms))
        + sum(own.macs for own in declared.values()),
        norm_ops=int(sum(count for op, count in total.items() if op in norms))
        + sum(own.norm_ops for own in declared.values()),
        attention_macs=int(total[ATTENTION]),
        modules={name: int(count) for name, count in modules.items()},
    )


def _unknown_message(analysis: Any, unknown: Counter[str]) -> str:
    places = []
    for operator in sorted(unknown):
        inside = [name for name in analysis.by_module() if analysis.unsupported_ops(name)[operator]]
        places.append(f"{operator} in {max(inside, key=len).removeprefix('backbone.') or 'the backbone'}")
    return (
        f"neither counted nor known to be negligible: {', '.join(places)}. Use counted operators, or declare the"
        " part's own count (ModulePart.declare)"
    )


@contextmanager
def _declarations(backbone: Backbone) -> Iterator[dict[str, Declared]]:
    """Let parts that declare their own count stand in for themselves while the backbone is traced."""
    declared: dict[str, Declared] = {}
    parts = [
        (name, module)
        for name, module in backbone.named_modules()
        if isinstance(module, ModulePart) and type(module).declare is not ModulePart.declare
    ]

    def stand_in(name: str, module: ModulePart, forward: Any) -> Any:
        def call(*inputs: Any) -> Any:
            own = module.declare(*inputs)
            if own is None:
                return forward(*inputs)
            before = declared.get(name, Declared(None, 0))
            declared[name] = Declared(None, before.macs + own.macs, before.norm_ops + own.norm_ops)
            return own.output

        return call

    for name, module in parts:
        module.forward = stand_in(name, module, module.forward)
    try:
        yield declared
    finally:
        for _, module in parts:
            del module.forward


def _with_ancestors(name: str) -> Iterator[str]:
    keys = name.split(".")
    for length in range(1, len(keys) + 1):
        yield ".".join(keys[:length])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's warnings, which are about deployment, away from users who asked for a count."""
    logger = logging.getLogger("torch.jit")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
