"""The law of parts that declare their own cost: what they declare is what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from zoo.audit.declared import declaration, declares
from zoo.audit.trace import VECTOR_PRODUCTS
from zoo.errors import AuditError
from zoo.parts.module_part import ModulePart
from zoo.parts.values import Declared
from zoo.testing.cases import Case

BATCHES = (1, 3)
FACTOR = 2
"""How far a declared count may be from what runs: additions, gates and norms are counted by one and not by another."""

aten = torch.ops.aten
MULTIPLIED = (aten.mul, aten.mul_, aten.addcmul, aten.addcmul_)
"""What recurrences are made of, of which ``FlopCounterMode`` counts nothing."""


def declares_its_cost(case: Case) -> None:
    """What a part declares in place of a trace is what runs on a CPU, within a factor of two.

    Matrix products, convolutions and attention count, and one multiply-add an element of each ``mul`` and ``addcmul``.
    Of another library's operator, what its kernel for the CPU runs of PyTorch's counts.
    """
    for batch in BATCHES:
        part = case.build(dtype=torch.float32, device="meta")
        own = _declared(part, case.inputs(batch, dtype=torch.float32, device="meta"))
        if own is None:
            return
        output, ran = _run(case.build(dtype=torch.float32), case.inputs(batch, dtype=torch.float32))
        promised, returned = _outline(own.output), _outline(output)
        assert promised == returned, f"declares an output {promised}, and forward returns {returned}"
        _assert_near(own.macs, ran.macs, f"multiply-adds for a batch of {batch}")
        if ran.attention_macs:
            _assert_near(own.attention_macs, ran.attention_macs, f"multiply-adds of attention for a batch of {batch}")


@dataclass(frozen=True)
class Ran:
    """Multiply-adds of a pass, and those of fused attention among them."""

    macs: int
    attention_macs: int


def _declared(part: nn.Module, inputs: tuple[Any, ...]) -> Declared | None:
    if not isinstance(part, ModulePart) or not declares(part):
        return None
    try:
        return declaration(part, inputs, type(part).__name__)
    except AuditError as error:
        raise AssertionError(str(error)) from error


def _run(part: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, Ran]:
    products = FlopCounterMode(display=False, custom_mapping={**VECTOR_PRODUCTS, ATTENTION_ON_CPU: _attention_flops})
    with torch.no_grad(), products, Multiplied() as multiplied:
        output = part(*inputs)
    flops = products.get_flop_counts().get("Global", {})
    attention = sum(count for operator, count in flops.items() if "attention" in str(operator))
    return output, Ran(products.get_total_flops() // 2 + multiplied.elements, attention // 2)


class Multiplied(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the elements that are multiplied one by one, and looks into operators of other libraries."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and count its elements."""
        if func.namespace not in ("aten", "prim", "prims"):
            with self:
                return func.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **(kwargs or {}))
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket in MULTIPLIED:
            self.elements += output.numel()
        return output


ATTENTION_ON_CPU = aten._scaled_dot_product_flash_attention_for_cpu


def _attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _outline(value: Any) -> Any:
    """A part's output with shape and dtype in place of each tensor."""
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {value.dtype}"
    if isinstance(value, tuple | list):
        return [_outline(each) for each in value]
    if is_dataclass(value):
        return {field.name: _outline(getattr(value, field.name)) for field in fields(value)}
    return value


def _assert_near(declared: int, ran: int, what: str) -> None:
    near = max(declared, ran) <= FACTOR * min(declared, ran)
    assert near, f"declares {declared} {what}, and {ran} run on a CPU: more than a factor of {FACTOR} apart"
