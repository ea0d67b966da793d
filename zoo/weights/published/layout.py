"""How a tensor of a published checkpoint corresponds to one of ours: names, order of axes, sign. Bit-reversible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from zoo.errors import in_words, words_of
from zoo.hooks import brief


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

    def __post_init__(self) -> None:
        if bool(self.published) != bool(self.own):
            raise ValueError("a Turn has axes on one side alone; let it have both, or neither")
        if self.sign not in (1, -1):
            raise ValueError(f"a Turn has sign = {self.sign!r}; let it be 1 or -1")

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
    """A tensor by both of its names.

    Attributes:
        published: in the checkpoint.
        own: in the backbone's state dict.
        turn: how its numbers lie there.
        share: ``(index, count)`` where so many tensors of equal shape, one behind the other on the first axis, make one
            of ours: queries, keys and values that are published one by one, say.
    """

    published: str
    own: str
    turn: Turn = SAME
    share: tuple[int, int] = (0, 1)

    def to_published(self, own: Tensor) -> Tensor:
        """Of our tensor the published one, which has no memory in common with others.

        Raises:
            ValueError: it has other axes, or no such shares.
        """
        index, count = self.share
        if count == 1:
            return self.turn.to_published(own).contiguous()
        if not 0 <= index < count or not own.ndim or len(own) % count:
            raise ValueError(f"share {index} of {count} of {list(own.shape)} is none; let the share divide the rows")
        return self.turn.to_published(own.chunk(count)[index]).clone(memory_format=torch.contiguous_format)


def to_own(entries: Iterable[Entry], published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors as ours, of which those in shares are joined."""
    shares: dict[str, dict[int, Tensor]] = {}
    for entry in entries:
        shares.setdefault(entry.own, {})[entry.share[0]] = entry.turn.to_own(published[entry.published])
    return {
        own: torch.cat([found[index] for index in sorted(found)]) if len(found) > 1 else next(iter(found.values()))
        for own, found in shares.items()
    }


def faults(entries: Collection[Entry], own: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with entries, whatever the checkpoint: a line each.

    Args:
        entries: of a layout.
        own: our tensors, on the meta device.
    """
    if not isinstance(entries, Iterable) or not all(isinstance(each, Entry) for each in entries):
        yield "what it yields is no zoo.weights.Entry"
        return
    names: Counter[str] = Counter()
    shares: dict[str, list[tuple[int, int]]] = {}
    for entry in entries:
        mistake = _mistake(entry)
        if mistake:
            yield mistake
            continue
        names[entry.published] += 1
        if entry.own not in own:
            yield f"{entry.published} is to be {entry.own}, and the backbone has no such tensor"
            continue
        shares.setdefault(entry.own, []).append(entry.share)
        try:
            entry.to_published(own[entry.own])
        except Exception as error:  # of einops, or of a turn of somebody's own
            why = words_of(error) if isinstance(error, ValueError | RuntimeError) else in_words(error)
            yield f"{entry.published} cannot be made of {entry.own} {list(own[entry.own].shape)}: {why}"
    yield from (f"{name} is named {count} times" for name, count in names.items() if count > 1)
    for name, found in shares.items():
        if sorted(found) != [(index, len(found)) for index in range(len(found))]:
            yield f"{name} is made of {len(found)} tensors, which are shares {sorted(found)} of it"


def _mistake(entry: Entry) -> str:
    """What is wrong with the fields of an entry, which has no constructor that could say so; nothing if nothing is."""
    for field, kind in (("published", str), ("own", str), ("turn", Turn)):
        value = getattr(entry, field)
        if not isinstance(value, kind):
            such = "a zoo.weights.Turn" if kind is Turn else "a text"
            return f"the entry {brief(tuple(entry))} has {field} = {brief(value)}; let it be {such}"
    share = entry.share
    if not (isinstance(share, tuple) and len(share) == 2 and all(type(each) is int for each in share)):
        return f"{entry.published} has share = {brief(share)}; let it be (index, count), such as (0, 3)"
    return ""


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
