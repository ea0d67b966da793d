"""The law of parts that declare their own cost: what they declare is what runs."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.audit.declared import declaration, declares
from zoo.errors import AuditError
from zoo.parts.module_part import ModulePart
from zoo.parts.values import Declared
from zoo.testing.cases import Case
from zoo.testing.law import law
from zoo.testing.ran import ran

BATCHES = (1, 3)
FACTOR = 2
"""How far a declared count may be from what runs: additions, gates and norms are counted by one and not by another."""


@law(
    "Let declare() tell the multiply-adds and outputs of the whole batch that it is given, or leave it out, "
    "and zoo traces the part."
)
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
        with ran() as run:
            output = case.build(dtype=torch.float32)(*case.inputs(batch, dtype=torch.float32))
        promised, returned = _outline(own.output), _outline(output)
        assert promised == returned, f"declares an output {promised}, and forward returns {returned}"
        _assert_near(own.macs, run.macs + run.multiplied, f"multiply-adds for a batch of {batch}")
        if run.attention_macs:
            _assert_near(own.attention_macs, run.attention_macs, f"multiply-adds of attention for a batch of {batch}")


def _declared(part: nn.Module, inputs: tuple[Any, ...]) -> Declared | None:
    if not isinstance(part, ModulePart) or not declares(part):
        return None
    try:
        return declaration(part, inputs, type(part).__name__)
    except AuditError as error:
        raise AssertionError(str(error)) from error


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
