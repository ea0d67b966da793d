"""The named values that pass between parts.

Letters in shapes: B batch, b samples of one stage, C latent channels, H W latent size (or one axis, or three), D width,
N image tokens of the current grid, m tokens in front of them, T = m + N all tokens, L context tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils._pytree import register_dataclass

from zoo.schedule import Grid


class Rotary(NamedTuple):
    """Cosines and sines of the angles that queries and keys of the image tokens are turned by.

    Behind a router they are those of the tokens that are there, [b, K, head_dim].

    Components 2i and 2i + 1 of a head are one pair, turned by one angle (RoFormer, section 3.4.2), so that each angle
    stands twice: ``cos[:, 2 * i] == cos[:, 2 * i + 1]``.

    Attributes:
        cos: of the angle of every token and component.
        sin: likewise.
    """

    cos: Float[Tensor, "*b N head_dim"]
    sin: Float[Tensor, "*b N head_dim"]


@dataclass(frozen=True)
class Position:
    """Where the tokens of one grid are, or nothing of that.

    Attributes:
        add: a table to add to the image's tokens.
        rotary: angles to turn their queries and keys by.
        prefix: a table to add to the tokens in front.
    """

    add: Float[Tensor, "N D"] | None = None
    rotary: Rotary | None = None
    prefix: Float[Tensor, "m D"] | None = None


@dataclass(frozen=True)
class ClassCondition:
    """What the labels say, each in any of these ways.

    Attributes:
        vector: joins the condition.
        tokens: stand before the image's.
        context: to attend to.
        context_mask: True where the context is there: somewhere in every row, that of the null condition too.
    """

    vector: Float[Tensor, "B D"] | None = None
    tokens: Float[Tensor, "B m D"] | None = None
    context: Float[Tensor, "B L D"] | None = None
    context_mask: Bool[Tensor, "B L"] | None = None


class Condition(NamedTuple):
    """What the noise level, the label and the stage say at one width.

    Attributes:
        time: the time embedder's vector.
        label: the class conditioner's; None where it gives none.
        stage: the stage embedder's; likewise.
    """

    time: Float[Tensor, "B D"]
    label: Float[Tensor, "B D"] | None = None
    stage: Float[Tensor, "B D"] | None = None

    @property
    def sum(self) -> Float[Tensor, "B D"]:
        """All of it, as adaptive LayerNorm takes it."""
        total = self.time
        for each in (self.label, self.stage):
            total = total if each is None else total + each
        return total


Vectors = tuple[Tensor, ...]
"""Vectors [B, D] that steer a block or a head, in its own order."""


class WhenAsked(Sequence[Vectors]):
    """Vectors of blocks, of which each is made when it is asked for, and once.

    In the backward pass what is made last comes first: a block's vectors that are made as the block begins have their
    gradients, and those of the weights that made them, right after the block's, and not at the end with all others.

    Args:
        make: the vectors of a block, by its index.
        count: of blocks.
    """

    def __init__(self, make: Callable[[int], Any], count: int) -> None:
        self._make, self._count = make, count
        self._made: dict[int, Any] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        index = range(self._count)[index]  # counted from the end, and several, as of a list
        if isinstance(index, range):
            return [self[each] for each in index]
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]

    def then(self, change: Callable[[int, Any], Any]) -> WhenAsked:
        """The same with each block's vectors changed, by its index."""
        return WhenAsked(lambda index: change(index, self[index]), self._count)


@dataclass(frozen=True)
class Modulations:
    """What steers blocks and heads.

    Attributes:
        blocks: the vectors of every block, in order: a list, or ``WhenAsked``, where blocks share none.
        heads: those of heads, by the width of their tokens.
        tokens: that go in front, by width.
    """

    blocks: Sequence[Vectors]
    heads: Mapping[int, Vectors]
    tokens: Mapping[int, Float[Tensor, "B m D"]] = field(default_factory=dict)

    def rows(self, index: Int[Tensor, " R"]) -> Modulations:
        """Those of the samples at ``index``, in that order. Tensors that blocks share stay shared."""
        return self._changed(1, lambda tensor: [tensor[index]])[0]

    def split(self, counts: Sequence[int]) -> list[Modulations]:
        """Those of the first so many samples, of the next, and so on. Tensors that blocks share stay shared."""
        blocks = self.blocks
        if not isinstance(blocks, WhenAsked):
            return self._changed(len(counts), lambda tensor: torch.split(tensor, list(counts)))
        others = replace(self, blocks=()).split(counts)
        if len(counts) == 1:
            return [replace(others[0], blocks=blocks)]
        parts = WhenAsked(lambda index: tuple(torch.split(each, list(counts)) for each in blocks[index]), len(blocks))

        def own(place: int) -> WhenAsked:
            return parts.then(lambda _, several: tuple(each[place] for each in several))

        return [replace(each, blocks=own(place)) for place, each in enumerate(others)]

    def nbytes(self) -> int:
        """Memory of the tensors, shared ones counted once."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors().values())

    def _tensors(self) -> dict[int, Tensor]:
        """Every tensor once, by its identity."""
        return {id(tensor): tensor for tensor in tensors_in(self)}

    def _changed(self, number: int, change: Callable[[Tensor], Sequence[Tensor]]) -> list[Modulations]:
        """What becomes of them if every tensor becomes so many."""
        changed = {key: change(tensor) for key, tensor in self._tensors().items()}

        def each(place: int) -> Any:
            return map_tensors(lambda tensor: changed[id(tensor)][place], self)

        return [each(place) for place in range(number)]


@dataclass(frozen=True)
class Layout:
    """How the tokens of one stage and level are laid out; the same object for all of its blocks.

    Attributes:
        m: tokens in front of the image tokens.
        grid: image tokens per side; row-major after the tokens in front.
        patch: latent pixels per image token, on each axis.
        rotary: angles of the image tokens, where the position part gives any; of those that are there behind a router.
        index: which image tokens are there [B, K], behind a router; None for all.
        context: to attend to [B, L, D], where the class conditioner gives any.
        context_mask: True where the context is there; None for everywhere.
    """

    m: int
    grid: Grid
    patch: Grid
    rotary: Rotary | None = None
    index: Int[Tensor, "B K"] | None = None
    context: Float[Tensor, "B L D"] | None = None
    context_mask: Bool[Tensor, "B L"] | None = None


register_dataclass(Layout)  # so that FSDP and activation checkpointing see the context, through which gradients flow


class Group(NamedTuple):
    """What a block is called with for the samples of one stage.

    Attributes:
        tokens: [b, m + N, D].
        vectors: its modulation, as many as its ``modulation_vectors``.
        layout: of the tokens.
        taken: outputs of the blocks that it ``takes``, in that order.
    """

    tokens: Float[Tensor, "b T D"]
    vectors: Vectors
    layout: Layout
    taken: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Tap:
    """What a block returned for the samples of one stage; gradients flow through it.

    Attributes:
        tokens: [b, m + K, D]; K is N, the grid's product, where no router leaves any out. Under autocast, float32.
        m: tokens in front of the image tokens.
        grid: image tokens per side, of all N; row-major.
        index: which image tokens are there [b, K], behind a router; None for all.
    """

    tokens: Float[Tensor, "b T D"]
    m: int
    grid: Grid
    index: Int[Tensor, "b K"] | None = None


register_dataclass(Tap)  # so that FSDP sees what a loss takes from a forward pass


@dataclass(frozen=True)
class Declared:
    """What a part that fvcore cannot trace says of itself.

    Attributes:
        output: tensors of the shapes and dtypes that ``forward`` returns.
        macs: multiply-adds of ``forward``, an int.
        norm_ops: operations of norms, which are no part of ``macs``: 4 an element, 5 with a weight.
        attention_macs: multiply-adds of attention alone, queries by keys and weights by values: a part of ``macs``.
    """

    output: Any
    macs: int
    norm_ops: int = 0
    attention_macs: int = 0


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a value that passes between parts, in a fixed order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list | WhenAsked):
        return [tensor for each in value for tensor in tensors_in(each)]
    if isinstance(value, Mapping):
        return [tensor for each in value.values() for tensor in tensors_in(each)]
    if is_dataclass(value):
        return [tensor for each in fields(value) for tensor in tensors_in(getattr(value, each.name))]
    return []


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same value with each of its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, WhenAsked):
        value = list(value)
    if isinstance(value, tuple | list):
        changed = [map_tensors(change, each) for each in value]
        return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)
    if isinstance(value, Mapping):
        return {key: map_tensors(change, each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: map_tensors(change, getattr(value, each.name)) for each in fields(value)})
    return value


def split_tensors(value: Any, counts: Sequence[int]) -> list[Any]:
    """The same value of the first so many samples, of the next, and so on."""
    if len(counts) == 1:
        return [value]
    ends = list(accumulate(counts))

    def own(end: int, count: int) -> Any:
        return map_tensors(lambda tensor: tensor[end - count : end], value)

    return [own(end, count) for end, count in zip(ends, counts, strict=True)]
