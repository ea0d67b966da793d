"""Laws of counting: an audit of the part, or what it declares of itself, tells what runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.audit.counting import Counts, Traced, count
from zoo.audit.declared import declaration, declares
from zoo.audit.operators import ATTENTION
from zoo.audit.untraceable import does_not_trace
from zoo.errors import AuditError
from zoo.parts.module_part import ModulePart
from zoo.parts.values import Declared, map_tensors, tensors_in
from zoo.testing.cases import Case
from zoo.testing.law import law
from zoo.testing.ran import Watch, aten, ran

BATCHES = (1, 2, 3)

FACTOR = 2
"""How far a declared count may be from what runs: additions, gates and norms are counted by one and not by another."""

COUNTED = 4
"""Cases: a trace takes as long as fifty passes."""


@law(
    "Use operators that an audit knows, make numbers of sizes by int() before you calculate with them, ask no tensor"
    " for its values, and pack no samples into one sequence; only what cannot trace at all has a declare() of its own.",
    examples=COUNTED,
)
def is_counted(case: Case) -> None:
    """An audit counts the part: all operators are known, what it counts runs, and each sample costs as much."""
    costs, part = [], _frozen(case, "cpu")
    for batch in BATCHES:  # first of all: what fails here is no matter of counting
        inputs = case.inputs(batch, dtype=torch.float32)
        with ran() as products:
            case.call(part, inputs)
        costs.append(products.macs)
    counts = audited(case)
    if counts.declared.by_name:
        return  # which is held to what runs by a law of its own, and not to the last multiply-add
    assert counts.macs == costs[0], f"an audit counts {counts.macs} multiply-adds, and {costs[0]} run on a CPU"
    one, two, three = costs
    assert three - two == two - one, (
        f"a sample costs more beside others: {one}, {two} and {three} multiply-adds for batches of 1, 2 and 3"
    )


@law(
    "Attend by F.scaled_dot_product_attention, or declare attention_macs: paper_convention takes what else you do for"
    " other products.",
    required=False,
)
def attention_is_seen(case: Case) -> None:
    """Attention is fused or declared, so that ``paper_convention`` tells it from other products."""
    inputs = case.inputs(1, dtype=torch.float32)
    tokens = tensors_in(inputs)[0].shape[1]
    if tokens in (case.dim, case.dim // case.site.heads):  # a softmax over channels looks alike
        return
    softmaxes = []

    def look(func: Any, args: Sequence[Any], _: Any) -> None:
        if func.overloadpacket is aten._softmax:
            softmaxes.append(tuple(args[0].shape[-2:]))

    with Watch(look), torch.no_grad():
        case.call(case.build(dtype=torch.float32), inputs)
    if (tokens, tokens) not in softmaxes:
        return
    counts = audited(case)
    counted = counts.traced[""][ATTENTION] + counts.declared.total("attention_macs")
    assert counted, "attends by products and a softmax of its own, which an audit does not see as attention"


def audited(case: Case, batch: int = 1) -> Counts:
    """What an audit counts of the part.

    Raises:
        AssertionError: it cannot.
    """
    part = _frozen(case, "meta")
    inputs = case.inputs(batch, dtype=torch.float32, device="meta")
    tensors = tuple(tensors_in(inputs)) or (torch.empty(1, device="meta"),)
    try:
        return count(
            Traced(
                whole=part,
                wrap=lambda used: OnePart(case, part, inputs, used),
                inputs=tensors,
                called="the part",
                why=lambda error: does_not_trace(part, "the part alone", error),
            )
        )
    except AuditError as error:
        raise AssertionError(str(error)) from error


def _frozen(case: Case, device: str) -> nn.Module:
    """The part, whose parameters need no gradient: no counter takes one that is returned otherwise."""
    return case.build(dtype=torch.float32, device=device).requires_grad_(False)


class OnePart(nn.Module):
    """A part that is fed its tensors one by one, as a trace has them."""

    def __init__(self, case: Case, part: nn.Module, inputs: tuple[Any, ...], used: Sequence[Tensor]) -> None:
        super().__init__()
        self.case, self.whole, self.inputs, self.used = case, part, inputs, used

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What the part returns, what is used besides, and what it was given."""
        left: Iterator[Tensor] = iter(tensors)
        outputs = self.case.call(self.whole, map_tensors(lambda _: next(left), self.inputs))
        return (*tensors_in(outputs), *self.used, *tensors)


@law(
    "Let declare() tell the multiply-adds and outputs of the whole batch that it is given, or leave it out, "
    "and zoo traces the part."
)
def declares_its_cost(case: Case) -> None:
    """What a part declares in place of a trace is what runs on a CPU, within a factor of two.

    Matrix products, convolutions and attention count, and one multiply-add an element of each ``mul`` and ``addcmul``.
    Of another library's operator, what its kernel for the CPU runs of PyTorch's counts.
    """
    for batch in (1, 3):
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
