"""What fvcore counts on the meta device: a stage of a backbone at batch 1, by part and by operator.

A trace loses what it takes for dead: results that nothing uses, and all that comes before a ``.data``. So PyTorch's own
``FlopCounterMode``, which sees every operator that runs, watches the same pass, and the two have to agree.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.audit.convolutions import RecordedConvolutions
from zoo.audit.declared import let_parts_declare
from zoo.audit.operators import ATTENTION, COUNTED, NORMS, is_negligible
from zoo.audit.untraceable import why_untraceable
from zoo.backbone import Backbone
from zoo.errors import AuditError
from zoo.labels import Labels


@dataclass(frozen=True)
class StageCount:
    """Exact counts of one stage at batch 1.

    Attributes:
        macs: multiply-adds.
        norm_ops: operations of norms, apart from ``macs``.
        attention_macs: multiply-adds of attention, fused or declared, part of ``macs``.
        modules: multiply-adds of every sub-module of the backbone by its dotted name.
        attention: those of attention, likewise.
    """

    macs: int
    norm_ops: int
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
        self.backbone, self.stage, self.used, self.routed = backbone, stage, used, routed

    def forward(self, latents: Tensor, t: Tensor, labels: Labels) -> tuple[Tensor, ...]:
        """The stage's velocity ``[B, C, *size]``, and what else is used."""
        count = self.backbone.scores_of(self.stage) if self.routed else 0
        scores = torch.empty(len(latents), count, device=latents.device) if count else None
        velocity = self.backbone.forward_stage(self.stage, latents, t, labels, scores=scores)
        if (
            not isinstance(velocity, Tensor) or velocity.shape != latents.shape
        ):  # which no part after the head would see
            raise ValueError("the head returned no latents")
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
    # The tracer notes the whole call stack at every operator; that of a thread of its own is short.
    with ThreadPoolExecutor(max_workers=1) as short:
        return short.submit(_count_stage, backbone, stage, routed).result()


def _count_stage(backbone: Backbone, stage: int, routed: bool) -> StageCount:
    witness = FlopCounterMode(display=False, custom_mapping=VECTOR_PRODUCTS)
    convolutions = RecordedConvolutions()  # type: ignore[no-untyped-call]
    with _restored(backbone), _quiet(), witness, convolutions:
        backbone.eval()
        declared = let_parts_declare(backbone)
        analysis = _analysis(OneStage(backbone, stage, declared.inputs, routed=routed))
        try:
            counts = analysis.by_module_and_operator()
        except AuditError:
            raise
        except Exception as error:
            raise AuditError(why_untraceable(backbone, stage, example_inputs(backbone, stage), error)) from error
    unknown = [operator for operator in sorted(analysis.unsupported_ops()) if not is_negligible(operator)]
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
        macs=traced + declared.total("macs"),
        norm_ops=sum(total[name] for name in NORM_NAMES) + declared.total("norm_ops"),
        attention_macs=total[ATTENTION] + declared.total("attention_macs"),
        modules=_by_module(backbone, counts, _macs, declared.each("macs")),
        attention=_by_module(backbone, counts, lambda count: count[ATTENTION], declared.each("attention_macs")),
    )


def _analysis(module: OneStage) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(module, example_inputs(module.backbone, module.stage)).clear_op_handles()
    analysis.set_op_handle(**COUNTED, **NORMS)
    # By caller, so that a layer which several parts share counts for the part that runs it.
    return analysis.ancestor_mode("caller").unsupported_ops_warnings(False).uncalled_modules_warnings(False)


NORM_NAMES = frozenset(name.removeprefix("aten::") for name in NORMS)


def _macs(counter: Counter[str]) -> int:
    return sum(count for name, count in counter.items() if name not in NORM_NAMES)


def _by_module(
    backbone: Backbone,
    counts: dict[str, Counter[str]],
    measure: Callable[[Counter[str]], int],
    declared: dict[str, int],
) -> dict[str, int]:
    """A measure by dotted name; a list of modules, which is never called itself, has that of its members."""
    modules = {
        name.removeprefix("backbone."): measure(counter)
        for name, counter in counts.items()
        if name.startswith("backbone.")
    }
    for name, module in backbone.named_children():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            modules[name] = sum(modules[f"{name}.{key}"] for key, _ in module.named_children())
    for name, own in declared.items():
        for ancestor in _with_ancestors(name):
            modules[ancestor] += own
    return modules


def _vector_product(a: Sequence[int], b: Sequence[int], **_: Any) -> int:
    return 2 * prod(a)


VECTOR_PRODUCTS = {torch.ops.aten.mv: _vector_product, torch.ops.aten.dot: _vector_product}
"""FLOPs of the products that ``FlopCounterMode`` leaves out."""


def _unknown_message(analysis: FlopCountAnalysis, unknown: Sequence[str]) -> str:
    places = []
    for operator in unknown:
        inside = [name for name in analysis.by_module() if analysis.unsupported_ops(name)[operator]]
        places.append(f"{operator} in {max(inside, key=len).removeprefix('backbone.') or 'the backbone'}")
    return (
        f"neither counted nor known to be negligible: {', '.join(places)}. Use counted operators, or declare the"
        " part's own count (ModulePart.declare)"
    )


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
