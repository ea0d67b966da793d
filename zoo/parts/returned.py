"""What parts return, in words for those whose part returned something else than its kind promises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from zoo.parts.base import Affine, BlockModulation, Modulations


def vectors_of(modulation: Any) -> tuple[Any, ...]:
    """The vectors ``[B, D]`` of a block's modulation or of the head's; what is neither, as it is."""
    if isinstance(modulation, BlockModulation):
        return (*modulation.attention, modulation.attention_gate, *modulation.mlp, modulation.mlp_gate)
    return tuple(modulation) if isinstance(modulation, Affine) else (modulation,)


def described(value: Any) -> str:
    """A value by its types and shapes: the numbers of a tensor tell nobody what is wrong."""
    if isinstance(value, Tensor):
        return f"a tensor {sizes(value.shape)}"
    if isinstance(value, tuple | list) and not all(isinstance(each, int) for each in value):
        return f"a {type(value).__name__} of {', '.join(map(described, value))}"
    if isinstance(value, Modulations):
        return f"Modulations of {len(value.blocks)} blocks"
    return str(value) if value is None or isinstance(value, tuple | list) else f"a {type(value).__name__}"


def sizes(shape: Iterable[int]) -> list[int]:
    """A shape as plain numbers, also in a trace."""
    return [int(size) for size in shape]
