"""How a tensor of a published checkpoint corresponds to one of ours: names, order of axes, sign. Bit-reversible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """Another order of a tensor's numbers, and perhaps the other sign.

    Attributes:
        published: axes as published, in einops' words; "" where the order is the same.
        own: axes in zoo.
        sizes: of the axes that cannot be told from the tensor, such as ``(("r", 2),)``.
        sign: 1 or -1.
    """

    published: str = ""
    own: str = ""
    sizes: tuple[tuple[str, int], ...] = ()
    sign: int = 1

    def to_own(self, tensor: Tensor) -> Tensor:
        """A published tensor as ours.

        Raises:
            ValueError: it has other axes.
        """
        return self._turned(tensor, self.published, self.own)

    def to_published(self, tensor: Tensor) -> Tensor:
        """One of our tensors as published."""
        return self._turned(tensor, self.own, self.published)

    def _turned(self, tensor: Tensor, before: str, after: str) -> Tensor:
        if before:
            tensor = rearrange(tensor, f"{before} -> {after}", **dict(self.sizes))
        return tensor if self.sign > 0 else -tensor


SAME = Turn()


class Entry(NamedTuple):
    """A tensor by both of its names."""

    published: str
    own: str
    turn: Turn = SAME


def linear(published: str, own: str, weight: Turn = SAME, bias: Turn = SAME) -> Iterator[Entry]:
    """Weight and bias of a layer."""
    yield Entry(f"{published}.weight", f"{own}.weight", weight)
    yield Entry(f"{published}.bias", f"{own}.bias", bias)


def sizes(**axes: int) -> tuple[tuple[str, int], ...]:
    """Sizes of axes, for a ``Turn``."""
    return tuple(axes.items())


TABLE = Turn("1 n d", "n d")
"""A position table."""


def convolution(channels: int, patch: tuple[int, ...]) -> Turn:
    """A convolution's weight, whose stride is its kernel, as a Linear's."""
    return Turn("d c a b", "d (c a b)", sizes(c=channels, a=patch[0], b=patch[1]))
