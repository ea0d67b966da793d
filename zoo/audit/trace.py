"""What fvcore counts on the meta device: a stage of a backbone at batch 1, by part and by operator.

A trace loses what it takes for dead: results that nothing uses, and all that comes before a ``.data``. So PyTorch's own
``FlopCounterMode``, which sees every operator that runs, watches the same pass, and the two have to agree.
"""

from __future__ import annotations

import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

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
    """Count one stage of a backbone that was built on the meta device, in evaluation mode.

    Raises:
        AuditError: an operator is neither counted nor known to be negligible, or a part does not trace.
    """
    analysis = _analysis(OneStage(backbone, stage))
    witness = FlopCounterMode(display=False, custom_mapping=VECTOR_PRODUCTS)
    with _restored(backbone), _quiet(), witness:
        backbone.eval()
        declared = _let_parts_declare(backbone)
        try:
            counts = analysis.by_module_and_operator()
        except Exception as error:
            raise AuditError(_untraceable_message(backbone, stage, error)) from error
    unknown = analysis.unsupported_ops()
    if unknown:
        raise AuditError(_unknown_message(analysis, unknown))
    total = counts[""]
    traced, ran = _macs(total), witness.get_total_flops() // 2
    if traced != ran:
        raise AuditError(
            f"stage {stage}: {ran} multiply-adds ran, but {traced} of them are in the trace. A part computes what"
            " nothing uses, or takes a tensor out of the trace; mend it, or declare its own count (ModulePart.declare)"
        )
    return StageCount(
        macs=traced + sum(own.macs for own in declared.values()),
        norm_ops=sum(total[name] for name in NORM_NAMES) + sum(own.norm_ops for own in declared.values()),
        attention_macs=total[ATTENTION],
        modules=_by_module(backbone, counts, declared),
    )


def _analysis(module: OneStage) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(module, example_inputs(module.backbone)).clear_op_handles()
    analysis.set_op_handle(**COUNTED, **{name: norm_operations(weight) for name, weight in NORMS.items()})
    analysis.set_op_handle(**dict.fromkeys(NEGLIGIBLE))
    # By caller, so that a layer which several parts share counts for the part that runs it.
    return analysis.ancestor_mode("caller").unsupported_ops_warnings(False).uncalled_modules_warnings(False)


NORM_NAMES = frozenset(name.removeprefix("aten::") for name in NORMS)


def _macs(counter: Counter[str]) -> int:
    return sum(count for name, count in counter.items() if name not in NORM_NAMES)


def _by_module(backbone: Backbone, counts: dict[str, Counter[str]], declared: dict[str, Declared]) -> dict[str, int]:
    """Multiply-adds by dotted name; a list of modules, which is never called itself, has those of its members."""
    modules = {
        name.removeprefix("backbone."): _macs(counter)
        for name, counter in counts.items()
        if name.startswith("backbone.")
    }
    for name, module in backbone.named_children():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            modules[name] = sum(modules[f"{name}.{key}"] for key, _ in module.named_children())
    for name, own in declared.items():
        for ancestor in _with_ancestors(name):
            modules[ancestor] += own.macs
    return modules


def _vector_product(a: Sequence[int], b: Sequence[int], **_: Any) -> int:
    return 2 * prod(a)


VECTOR_PRODUCTS = {torch.ops.aten.mv: _vector_product, torch.ops.aten.dot: _vector_product}
"""FLOPs of the products that ``FlopCounterMode`` leaves out."""


def _untraceable_message(backbone: Backbone, stage: int, error: Exception) -> str:
    names = {module: name for name, module in backbone.named_modules() if name}
    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [names[owner] for owner in owners if isinstance(owner, nn.Module) and owner in names]
    reason = (str(error).strip().splitlines() or [""])[0]
    return (
        f"{inside[-1] if inside else 'a part'} cannot be traced and counted on the meta device (stage {stage}):"
        f" {type(error).__name__}: {reason}. A part that does not trace (convolutions never do, nor an einsum of more"
        " than two operands) declares its own count: see ModulePart.declare"
    )


def _unknown_message(analysis: FlopCountAnalysis, unknown: Counter[str]) -> str:
    places = []
    for operator in sorted(unknown):
        inside = [name for name in analysis.by_module() if analysis.unsupported_ops(name)[operator]]
        places.append(f"{operator} in {max(inside, key=len).removeprefix('backbone.') or 'the backbone'}")
    return (
        f"neither counted nor known to be negligible: {', '.join(places)}. Use counted operators, or declare the"
        " part's own count (ModulePart.declare)"
    )


def _let_parts_declare(backbone: Backbone) -> dict[str, Declared]:
    """Let parts that declare their own count stand in for themselves; what they declare in a pass is put in here."""
    declared: dict[str, Declared] = {}

    def stand_in(name: str, module: ModulePart, forward: Any) -> Any:
        def call(*inputs: Any) -> Any:
            own = module.declare(*inputs)
            if own is None:
                return forward(*inputs)
            before = declared.get(name, Declared(None, 0))
            declared[name] = Declared(None, before.macs + own.macs, before.norm_ops + own.norm_ops)
            return own.output

        return call

    for name, module in backbone.named_modules():
        if isinstance(module, ModulePart) and type(module).declare is not ModulePart.declare:
            module.forward = stand_in(name, module, module.forward)
    return declared


def _with_ancestors(name: str) -> Iterator[str]:
    keys = name.split(".")
    for length in range(1, len(keys) + 1):
        yield ".".join(keys[:length])


@contextmanager
def _restored(backbone: Backbone) -> Iterator[None]:
    """Leave all modules as they were: mode, hooks (which a trace that fails leaves behind), methods and caches."""
    attributes = [vars(module) for module in backbone.modules()]
    nested = [value for each in attributes for value in each.values() if isinstance(value, dict)]
    before = [(each, dict(each)) for each in (*attributes, *nested)]
    try:
        yield
    finally:
        for each, contents in before:  # in place, since handles of hooks refer to these very dicts
            each.clear()
            each.update(contents)


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
