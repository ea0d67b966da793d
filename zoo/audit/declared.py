"""Parts that declare their own count: they stand in for themselves while a stage is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from zoo.errors import AuditError, first_line, with_article
from zoo.parts.module_part import ModulePart
from zoo.parts.values import Declared, map_tensors, tensors_in

NUMBERS = ("macs", "norm_ops", "attention_macs")


@dataclass(frozen=True)
class Declarations:
    """What was declared in a pass.

    Attributes:
        by_name: the numbers of each part by its dotted name, added up over its calls.
        inputs: tensors that went into these parts, and so did not come to nothing.
    """

    by_name: dict[str, Declared] = field(default_factory=dict)
    inputs: list[Tensor] = field(default_factory=list)

    def total(self, number: str) -> int:
        """The sum over all parts of one of ``NUMBERS``."""
        return sum(self.each(number).values())

    def each(self, number: str) -> dict[str, int]:
        """One of ``NUMBERS`` by the part's name."""
        return {name: getattr(own, number) for name, own in self.by_name.items()}


def declares(module: nn.Module) -> bool:
    """Whether a module is a part with a ``declare`` of its own."""
    return isinstance(module, ModulePart) and type(module).declare is not ModulePart.declare


def declaration(part: ModulePart, inputs: tuple[Any, ...], where: str) -> Declared | None:
    """What a part declares for these inputs.

    Args:
        part: a part that ``declares``.
        inputs: of its ``forward``, on the meta device.
        where: what to call the part in an error.

    Raises:
        AuditError: it fails, or is no Declared with whole numbers that go together.
    """
    try:
        with _unwatched():
            own = part.declare(*map_tensors(Tensor.detach, inputs))
    except Exception as error:
        raise AuditError(f"{where}: declare fails: {type(error).__name__}: {first_line(error)}") from error
    if own is None:
        return None
    if not isinstance(own, Declared):
        kind = type(own).__name__
        raise AuditError(
            f"{where}: declare must return a zoo.parts.Declared, or None to be traced, not {with_article(kind)}"
        )
    for name in NUMBERS:
        number = getattr(own, name)
        if type(number) is not int:
            raise AuditError(f"{where}: declare's {name} must be an int, not {with_article(type(number).__name__)}")
        if number < 0:
            raise AuditError(f"{where}: declare's {name} must not be negative, and is {number}")
    if own.attention_macs > own.macs:
        raise AuditError(
            f"{where}: declare's attention_macs ({own.attention_macs}) are a part of its macs ({own.macs}), and cannot"
            " be more; count them in both"
        )
    return own


def let_parts_declare(backbone: nn.Module) -> Declarations:
    """Let parts that declare their own count stand in for themselves; what they declare in a pass is put in here."""
    found = Declarations()

    def stand_in(name: str, part: ModulePart, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            part.forward = forward  # which the part may run to tell the shape of its output
            own = declaration(part, inputs, f"{name} ({type(part).__name__})".lstrip())
            if own is None:
                output = forward(*inputs)
            else:
                output = _made_in_the_trace(own.output)
                before = found.by_name.get(name, Declared(None, 0))
                sums = (getattr(before, each) + getattr(own, each) for each in NUMBERS)
                found.by_name[name] = Declared(None, *sums)
                found.inputs.extend(tensors_in(inputs))
            part.forward = call
            return output

        return call

    for name, module in backbone.named_modules():
        if isinstance(module, ModulePart) and declares(module):
            module.forward = stand_in(name, module, module.forward)
    return found


def _made_in_the_trace(output: Any) -> Any:
    """The same output of tensors that the trace knows, since it cannot tell constants on the meta device apart."""
    with _unwatched():
        sizes = iter([(tuple(each.shape), each.dtype) for each in tensors_in(output)])

    def made(_: Tensor) -> Tensor:
        shape, dtype = next(sizes)
        return torch.empty(shape, dtype=dtype, device="meta")

    return map_tensors(made, output)


@contextmanager
def _unwatched() -> Iterator[None]:
    """Outside of the trace, in which sizes would be tensors, and of all counters; a trace takes no gradients over."""
    tracing = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        with _disable_current_modes(), torch.no_grad():
            yield
    finally:
        torch._C._set_tracing_state(tracing)  # type: ignore[attr-defined]
