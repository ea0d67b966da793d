"""What parts return, in words for those whose part returned something else than its kind promises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from zoo.errors import with_article
from zoo.parts.values import Modulations


def described(value: Any) -> str:
    """A value by its types and shapes: the numbers of a tensor tell nobody what is wrong."""
    if isinstance(value, Tensor):
        return f"a tensor {sizes(value.shape)}"
    if isinstance(value, tuple | list) and not all(isinstance(each, int) for each in value):
        return f"{with_article(type(value).__name__)} of {', '.join(map(described, value))}"
    if isinstance(value, Modulations):
        return f"Modulations of {len(value.blocks)} blocks"
    return str(value) if value is None or isinstance(value, tuple | list) else with_article(type(value).__name__)


def sizes(shape: Iterable[int]) -> list[int]:
    """A shape as plain numbers, also in a trace."""
    return [int(size) for size in shape]
