"""What operators give on the meta device, told once for equal inputs.

PyTorch tells most shapes in Python, in a millisecond an operator, and a backbone runs those of a block once a block.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class Shaped(NamedTuple):
    """All that there is to a tensor on the meta device."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class RememberedShapes(TorchDispatchMode):
    """Runs an operator of tensors on the meta device once for equal inputs, and then makes the like of what it gave.

    Not one that writes to what it is given, or gives a view of it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given: dict[Hashable, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """What the operator gives."""
        kwargs = kwargs or {}
        key = _key(func, args, kwargs) if _makes_what_it_gives(func) else None
        if key in self._given:
            return _made(self._given[key])
        given = func(*args, **kwargs)
        if key is not None:
            with suppress(TypeError):
                self._given[key] = _known_by(given)
        return given


@cache
def _makes_what_it_gives(func: Any) -> bool:
    schema = func._schema
    return not schema.is_mutable and all(each.alias_info is None for each in (*schema.arguments, *schema.returns))


def _key(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
    """What tells a call from others; None where its inputs are not such as can be told apart."""
    with suppress(TypeError):
        key = (func, _known_by(args), *((name, _known_by(value)) for name, value in sorted(kwargs.items())))
        hash(key)
        return key
    return None


def _known_by(value: Any) -> Any:
    """A value by which an equal one is known.

    Raises:
        TypeError: it is a tensor that is not on the meta device, which has values too.
    """
    if isinstance(value, Tensor):
        if (type(value) is not Tensor and type(value) is not nn.Parameter) or not value.is_meta:
            raise TypeError
        return Shaped(tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, list | tuple):
        return (type(value), *map(_known_by, value))
    return type(value), value


def _made(known: Any) -> Any:
    if isinstance(known, Shaped):
        return torch.empty_strided(known.size, known.stride, dtype=known.dtype, device="meta")
    kind, *rest = known
    return kind(map(_made, rest)) if kind in (list, tuple) else rest[0]
