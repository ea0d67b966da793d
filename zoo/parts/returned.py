"""What parts return, in words for those whose part returned something else than its kind promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Tensor

from zoo.errors import with_article
from zoo.parts.values import Layout, Modulations

Promised = Sequence[int | str]
"""A shape; a letter in it stands for any length."""


SHOWN = 3
"""Of the values in a list."""


def described(value: Any) -> str:
    """A value by its types and shapes: the numbers of a tensor tell nobody what is wrong."""
    if isinstance(value, Tensor):
        return f"a tensor {sizes(value.shape)}"
    if isinstance(value, torch.dtype):
        return f"a tensor of {value}"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(f'{key}: {described(each)}' for key, each in value.items()) or 'nothing'}"
    if isinstance(value, tuple | list) and not all(isinstance(each, int) for each in value):
        shown = [*map(described, value[:SHOWN]), *([f"{len(value) - SHOWN} more"] if len(value) > SHOWN else [])]
        return f"{with_article(type(value).__name__)} of {', '.join(shown)}"
    if isinstance(value, Modulations):
        blocks, heads = (f"{len(each)}" if isinstance(each, Sized) else "no" for each in (value.blocks, value.heads))
        return f"Modulations of {blocks} blocks and {heads} heads"
    if isinstance(value, Layout):
        return f"a Layout of m {value.m} and grid {value.grid}"
    return str(value) if value is None or isinstance(value, tuple | list) else with_article(type(value).__name__)


def sizes(shape: Promised) -> str:
    """A shape as plain numbers, also in a trace, and letters."""
    return f"[{', '.join(size if isinstance(size, str) else str(int(size)) for size in shape)}]"


def has_shape(tensor: Tensor, shape: Promised) -> bool:
    """Whether a tensor has a shape in which letters stand for any length."""
    if tensor.shape == shape:
        return True
    return tensor.ndim == len(shape) and all(
        isinstance(wanted, str) or size == wanted for size, wanted in zip(tensor.shape, shape, strict=True)
    )
