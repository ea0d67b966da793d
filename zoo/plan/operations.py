"""The operators of a pass: what each computes, reads and writes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

Kind = Literal["product", "attention", "update", "other"]

BACKWARD = 2.5
"""Multiply-adds of attention's backward pass, which computes scores anew, to one of its forward pass."""
ALLOCATING = ("empty", "new_empty")
UPDATING = ("_fused_", "_foreach_")
"""What operators on all weights at once begin with."""


@dataclass(frozen=True)
class Operation:
    """An operator that a pass has run.

    Attributes:
        name: PyTorch's, ``addmm``.
        kind: what its time depends on.
        flops: two for each multiply-add of a product or of attention.
        dtype: of the factors of a product or of attention.
        read: bytes of each storage that it reads, by its number.
        written: the same of what it writes.
        tokens: queries and keys of attention.
    """

    name: str
    kind: Kind
    flops: float
    dtype: torch.dtype
    read: Mapping[int, int]
    written: Mapping[int, int]
    tokens: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """All that it moves."""
        return sum(self.read.values()) + sum(self.written.values())


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the operators that are run while it is active, on tensors real or fake; views are none.

    Attributes:
        operations: in their order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self._numbers: dict[int, int] = {}
        self._count = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and note it."""
        kwargs = kwargs or {}
        given = list(_tensors((args, kwargs)))
        read = self._bytes(given)
        found = func(*args, **kwargs)
        operator: Any = func
        changed = list(_changed(operator, args, kwargs))
        own = changed or [each for each in _tensors(found) if self._number(each.untyped_storage()) not in read]
        name = operator._overloadpacket.__name__
        if own and not name.startswith(ALLOCATING):
            kind, flops, tokens = _work(operator, args, kwargs, found)
            dtype = given[0].dtype if given else own[0].dtype
            self.operations.append(Operation(name, kind, flops, dtype, read, self._bytes(own), tokens))
        return found

    def _bytes(self, tensors: Sequence[Tensor]) -> dict[int, int]:
        found: dict[int, int] = {}
        for each in tensors:
            storage = each.untyped_storage()
            number, size = self._number(storage), min(each.nbytes, storage.nbytes())  # one that is expanded is as small
            found[number] = max(found.get(number, 0), size)
        return found

    def _number(self, storage: UntypedStorage) -> int:
        """A storage's own; its address may come to be another's."""
        address = storage._cdata
        if address not in self._numbers:
            self._numbers[address] = self._count
            self._count += 1
            weakref.finalize(storage, self._numbers.pop, address, None).atexit = False
        return self._numbers[address]


def joined_bytes(operations: Sequence[Operation]) -> int:
    """Bytes that elementwise operators move where each run of them between two others is one kernel, as compiled.

    What is made and used up within a run is then neither written nor read, and nothing is read twice.
    """
    runs, run = [], 0
    for each in operations:
        run += each.kind != "other"
        runs.append(run)
        run += each.kind != "other"
    made: dict[int, int] = {}
    read_in: dict[int, set[int]] = {}
    for own, each in zip(runs, operations, strict=True):
        for number in each.read:
            read_in.setdefault(number, set()).add(own)
        for number in each.written:
            made.setdefault(number, own)
    moved: dict[tuple[int, int, str], int] = {}
    for own, each in zip(runs, operations, strict=True):
        if each.kind != "other":
            continue
        moved |= {(own, number, "read"): size for number, size in each.read.items() if made.get(number) != own}
        kept = {number: size for number, size in each.written.items() if read_in.get(number, {None}) != {own}}
        moved |= {(own, number, "written"): size for number, size in kept.items()}
    return sum(moved.values())


def _tensors(values: Any) -> Iterator[Tensor]:
    return (each for each in tree_leaves(values) if isinstance(each, Tensor))


def _changed(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """What an operator changes in place."""
    for place, argument in enumerate(operator._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            yield from _tensors(given)


def _work(
    operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], found: Any
) -> tuple[Kind, float, tuple[int, ...]]:
    packet = operator._overloadpacket
    name = packet.__name__
    if "scaled_dot_product" in name:
        backward = "backward" in name
        *rows, queries, width = args[backward].shape
        keys = args[1 + backward].shape[-2]
        flops = 4 * prod(rows) * queries * keys * width * (BACKWARD if backward else 1)
        return "attention", flops, (queries, keys)
    if packet in flop_registry:
        with suppress(NotImplementedError):
            return "product", flop_registry[packet](*args, **kwargs, out_val=found), ()
    return ("update" if name.startswith(UPDATING) else "other"), 0, ()
