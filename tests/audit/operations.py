"""Operations counted in a trace on the meta device, as an audit does it, and by PyTorch's own counter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.audit.convolutions import RecordedConvolutions
from zoo.audit.counting import macs_of
from zoo.audit.operators import COUNTED, is_negligible

Operation = Callable[..., Tensor]


class Calls(nn.Module):
    """A module that runs one operation."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.operation(*inputs)


def zeros(device: str, *shapes: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(tuple(shape), device=device) for shape in shapes)


def analysed(operation: Operation, inputs: Sequence[Tensor], handles: dict[str, Any] = COUNTED) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(Calls(operation), tuple(inputs)).clear_op_handles().set_op_handle(**handles)
    with RecordedConvolutions():
        analysis.unsupported_ops_warnings(False).total()
    return analysis


def counted(operation: Operation, *shapes: Sequence[int]) -> int:
    analysis = analysed(operation, zeros("meta", *shapes))
    assert all(map(is_negligible, analysis.unsupported_ops()))
    return macs_of(analysis.by_operator())


def witnessed(operation: Operation, *shapes: Sequence[int], device: str = "meta") -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        operation(*zeros(device, *shapes))
    return counter.get_total_flops() // 2
