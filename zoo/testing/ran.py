"""What runs of a part on a CPU: multiply-adds, those of attention among them, and any operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from zoo.audit.counting import VECTOR_PRODUCTS

aten = torch.ops.aten
MULTIPLIED = (aten.mul, aten.mul_, aten.addcmul, aten.addcmul_)
"""What recurrences are made of, of which ``FlopCounterMode`` counts nothing."""


@dataclass
class Ran:
    """What ran, once it has: multiply-adds of products, convolutions and attention; those of fused attention among
    them; and elements that were multiplied one by one."""

    macs: int = 0
    attention_macs: int = 0
    multiplied: int = 0


@contextmanager
def ran() -> Iterator[Ran]:
    """Count what runs inside, without gradients."""
    found = Ran()
    products = FlopCounterMode(display=False, custom_mapping={**VECTOR_PRODUCTS, ATTENTION_ON_CPU: _attention_flops})
    with torch.no_grad(), _open_attention(), products, Multiplied() as multiplied:
        yield found
    flops = products.get_flop_counts().get("Global", {})
    found.macs = products.get_total_flops() // 2
    found.attention_macs = sum(number for operator, number in flops.items() if "attention" in str(operator)) // 2
    found.multiplied = multiplied.elements


@contextmanager
def _open_attention() -> Iterator[None]:
    """Run ``nn.MultiheadAttention`` and encoder layers by products: what they fuse without gradients counts nothing."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


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


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Has a look at every operator that runs, at what it is given and at what it returns."""

    def __init__(self, look: Callable[[Any, Sequence[Any], Any], object]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.look = look

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and look."""
        returned = func(*args, **(kwargs or {}))
        self.look(func, args, returned)
        return returned


ATTENTION_ON_CPU = aten._scaled_dot_product_flash_attention_for_cpu


def _attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
