"""What fvcore counts of a module on the meta device, by sub-module and by operator.

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
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.audit.convolutions import RecordedConvolutions
from zoo.audit.declared import Declarations, let_parts_declare
from zoo.audit.operators import COUNTED, MULTIPLICATIONS, NORM_OPS, NORMS, PRODUCTS, is_negligible
from zoo.audit.remembered import RememberedShapes
from zoo.errors import AuditError

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit.script`")  # by which it makes losses of its own
    from fvcore.nn import FlopCountAnalysis


@dataclass(frozen=True)
class Counts:
    """What was counted.

    Attributes:
        traced: counts of operators by the dotted name of the module that runs them; those of all under "".
        declared: what parts declared in place of a trace.
    """

    traced: dict[str, Counter[str]]
    declared: Declarations

    @property
    def macs(self) -> int:
        """Multiply-adds of all."""
        return macs_of(self.traced[""]) + self.declared.total("macs")

    @property
    def norm_ops(self) -> int:
        """Operations of norms, apart from ``macs``."""
        return self.traced[""][NORM_OPS] + self.declared.total("norm_ops")

    @property
    def products(self) -> int | None:
        """Elementwise products, apart from ``macs``; None where a part declares its own count, which has none."""
        return None if self.declared.by_name else self.traced[""][PRODUCTS]


@dataclass(frozen=True)
class Traced:
    """What is to be counted.

    Attributes:
        whole: the module, on the meta device.
        wrap: a module around it, which is traced and holds it in an attribute ``whole``; given tensors that it is to
            return too, for the trace to take them for used (they are put in during the pass).
        inputs: of that module.
        called: what messages call the whole.
        why: what to say of an error with which a trace ends.
    """

    whole: nn.Module
    wrap: Callable[[Sequence[Tensor]], nn.Module]
    inputs: tuple[Any, ...]
    called: str
    why: Callable[[Exception], str]


def count(what: Traced) -> Counts:
    """Count one pass, in evaluation mode; the module is left as it was.

    Raises:
        AuditError: an operator is neither counted nor known to be negligible; or a part fails, does not trace, or
            declares what cannot be.
    """
    # The tracer notes the whole call stack at every operator; that of a thread of its own is short.
    with ThreadPoolExecutor(max_workers=1) as short:
        return short.submit(_count, what).result()


def _count(what: Traced) -> Counts:
    witness = FlopCounterMode(display=False, custom_mapping=VECTOR_PRODUCTS)
    convolutions = RecordedConvolutions()  # type: ignore[no-untyped-call]
    with _restored(what.whole), _quiet(), RememberedShapes(), witness, convolutions:
        what.whole.eval()
        declared = let_parts_declare(what.whole)
        analysis = _analysis(what.wrap(declared.inputs), what.inputs)
        try:
            counts = analysis.by_module_and_operator()
        except AuditError:
            raise
        except Exception as error:
            raise AuditError(what.why(error)) from error
    unknown = [operator for operator in sorted(analysis.unsupported_ops()) if not is_negligible(operator)]
    if unknown:
        raise AuditError(_unknown_message(analysis, unknown, what.called))
    traced, ran = macs_of(counts[""]), witness.get_total_flops() // 2
    if traced != ran:
        raise AuditError(
            f"{what.called}: {ran} multiply-adds ran, but {traced} of them are in the trace. A part computes what"
            " nothing uses, or takes a tensor out of the trace; mend it, or declare its own count (ModulePart.declare)"
        )
    inside = {name.removeprefix(INSIDE): counter for name, counter in counts.items() if name.startswith(INSIDE)}
    return Counts({**inside, "": counts[""]}, declared)


INSIDE = "whole."


def _analysis(module: nn.Module, inputs: tuple[Any, ...]) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(module, inputs).clear_op_handles()
    analysis.set_op_handle(**COUNTED, **NORMS, **MULTIPLICATIONS)
    # By caller, so that a layer which several parts share counts for the part that runs it.
    return analysis.ancestor_mode("caller").unsupported_ops_warnings(False).uncalled_modules_warnings(False)


def macs_of(counter: Counter[str]) -> int:
    """Multiply-adds among the counts of operators."""
    return sum(number for name, number in counter.items() if name not in (NORM_OPS, PRODUCTS))


def _vector_product(a: Sequence[int], b: Sequence[int], **_: Any) -> int:
    return 2 * prod(a)


VECTOR_PRODUCTS = {torch.ops.aten.mv: _vector_product, torch.ops.aten.dot: _vector_product}
"""FLOPs of the products that ``FlopCounterMode`` leaves out."""


def _unknown_message(analysis: FlopCountAnalysis, unknown: Sequence[str], called: str) -> str:
    places = []
    for operator in unknown:
        inside = [name for name in analysis.by_module() if analysis.unsupported_ops(name)[operator]]
        places.append(f"{operator} in {max(inside, key=len).removeprefix('whole').removeprefix('.') or called}")
    return (
        f"neither counted nor known to be negligible: {', '.join(places)}. Use counted operators, or declare the"
        " part's own count (ModulePart.declare)"
    )


@contextmanager
def _restored(whole: nn.Module) -> Iterator[None]:
    """Leave all modules as they were: mode, hooks (which a trace that fails leaves behind), methods and caches."""
    attributes = [vars(module) for module in whole.modules()]
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
