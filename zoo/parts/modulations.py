"""Built-in modulations: how the condition steers the blocks (adaptive LayerNorm)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zoo.parts.base import Modulation
from zoo.parts.layers import Linear
from zoo.parts.values import Condition, Modulations, Vectors, WhenAsked
from zoo.registry import part
from zoo.sites import Slot

Init = Literal["zero", "xavier", "normal"]


def keyed(modules: Mapping[str, nn.Module]) -> nn.Module:
    """The modules by name; or the only one there is by itself, so that state dicts name what differs and no more."""
    return next(iter(modules.values())) if len(modules) == 1 else nn.ModuleDict(modules)


def at_key(modules: nn.Module, key: str) -> nn.Module:
    """One of ``keyed`` modules."""
    return modules[key] if isinstance(modules, nn.ModuleDict) else modules


@part("modulation", "adaln_zero")
class AdaLNZero(Modulation):
    """A Linear of its own for every block and for the head, starting at zero: DiT (section 3.2).

    Options:
        init: how the blocks' Linears start; the head's starts at zero.
    """

    def __init__(self, blocks: tuple[Slot, ...], heads_by_width: Mapping[int, Slot], *, init: Init = "zero") -> None:
        super().__init__()
        self.slots, self.head_slots = blocks, dict(heads_by_width)
        self.blocks = nn.ModuleList(_linear(slot, init) if slot.vectors else nn.Identity() for slot in blocks)
        self.head = _heads(self.head_slots)

    def forward(self, conditions: Mapping[int, Condition]) -> Modulations:
        """Vectors of all blocks and heads; of each block when they are asked for, but in a trace, whose operators count
        for who calls them."""
        active = _active(conditions)
        blocks = WhenAsked(lambda index: _vectors(self.blocks[index], self.slots[index], active), len(self.slots))
        return Modulations(
            blocks=list(blocks) if torch.jit.is_tracing() else blocks,  # type: ignore[attr-defined, no-untyped-call]
            heads=_head_vectors(self.head, self.head_slots, active),
        )


@part("modulation", "shared_adaln")
class SharedAdaLN(Modulation):
    """One Linear for all blocks that ask for the same; a head of two vectors takes the shift and scale that the first
    block of its width lends, in DiT's those of the MLP: MPDiT (section 3.2, table 3).

    Options:
        init: how the Linears start.
    """

    def __init__(self, blocks: tuple[Slot, ...], heads_by_width: Mapping[int, Slot], *, init: Init = "zero") -> None:
        super().__init__()
        self.slots, self.groups = blocks, {_name(slot): slot for slot in blocks if slot.vectors}
        self.shared = keyed({name: _linear(slot, init) for name, slot in self.groups.items()})
        lending = {(slot.condition, slot.dim): slot for slot in reversed(blocks) if slot.lends}
        borrowing = {dim: (slot.condition, dim) for dim, slot in heads_by_width.items() if slot.vectors == 2}
        self.lenders = {dim: lending[key] for dim, key in borrowing.items() if key in lending}
        self.dims = tuple(heads_by_width)
        self.head_slots = {dim: slot for dim, slot in heads_by_width.items() if dim not in self.lenders}
        self.head = _heads(self.head_slots)

    def forward(self, conditions: Mapping[int, Condition]) -> Modulations:
        """The same vectors for all equal blocks, and for heads what they borrow, or their own."""
        active = _active(conditions)
        shared = {name: _vectors(at_key(self.shared, name), slot, active) for name, slot in self.groups.items()}
        heads = {
            dim: tuple(shared[_name(slot)][index] for index in slot.lends or ()) for dim, slot in self.lenders.items()
        }
        heads |= _head_vectors(self.head, self.head_slots, active)
        return Modulations(
            blocks=[shared.get(_name(slot), ()) for slot in self.slots], heads={dim: heads[dim] for dim in self.dims}
        )


@part("modulation", "adaln_single")
class AdaLNSingle(Modulation):
    """One Linear for all blocks that ask for the same plus a learned table for each, and for the head on the condition
    itself: PixArt.

    Options:
        init: how the Linears start.
        tables: how the tables start: at zero, or normal with deviation 1 / sqrt(D), as published.

    Raises:
        ValueError: a head is steered by a condition of another width than its tokens.
    """

    def __init__(
        self,
        blocks: tuple[Slot, ...],
        heads_by_width: Mapping[int, Slot],
        *,
        init: Init = "zero",
        tables: Literal["zero", "normal"] = "zero",
    ) -> None:
        super().__init__()
        self.slots, self.start = blocks, tables
        self.dims = tuple(heads_by_width)
        self.head_slots = {dim: slot for dim, slot in heads_by_width.items() if slot.vectors}
        for slot in self.head_slots.values():
            if slot.condition != slot.dim:
                raise ValueError(
                    f"adds the head's table to the condition, whose width is {slot.condition}, and the head's is"
                    f" {slot.dim}; take backbone.condition: per_width"
                )
        self.groups = {_name(slot): slot for slot in blocks if slot.vectors}
        self.shared = keyed({name: _linear(slot, init) for name, slot in self.groups.items()})
        rows = [torch.empty(slot.vectors * slot.dim) for slot in blocks if slot.vectors]
        self.tables: nn.Parameter | nn.ParameterList = (
            nn.Parameter(torch.stack(rows)) if len(self.groups) == 1 else nn.ParameterList(rows)
        )
        heads = {str(dim): torch.empty(slot.vectors, dim) for dim, slot in self.head_slots.items()}
        if len(heads) == 1:
            self.head_table: nn.Parameter | nn.ParameterDict = nn.Parameter(next(iter(heads.values())))
        else:
            self.head_table = nn.ParameterDict(heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the tables to how they start."""
        for table, dim in chain(
            zip(self.tables, (slot.dim for slot in self.slots if slot.vectors), strict=True),
            ((self._head_table(dim), dim) for dim in self.head_slots),
        ):
            if self.start == "zero":
                nn.init.zeros_(table)
            else:
                nn.init.normal_(table, std=dim**-0.5)

    def forward(self, conditions: Mapping[int, Condition]) -> Modulations:
        """The shared vectors shifted by each block's table."""
        active = _active(conditions)
        shared = {name: at_key(self.shared, name)(active[slot.condition]) for name, slot in self.groups.items()}
        tables = iter(self.tables)
        return Modulations(
            blocks=[
                (shared[_name(slot)] + next(tables)).chunk(slot.vectors, dim=1) if slot.vectors else ()
                for slot in self.slots
            ],
            heads=dict.fromkeys(self.dims, ())
            | {
                dim: tuple(conditions[slot.condition].sum + row for row in self._head_table(dim))
                for dim, slot in self.head_slots.items()
            },
        )

    def _head_table(self, dim: int) -> Tensor:
        tables = self.head_table
        return tables[str(dim)] if isinstance(tables, nn.ParameterDict) else tables


@part("modulation", "none")
class NoModulation(Modulation):
    """No vectors: for blocks that take none."""

    gives = frozenset()
    uses = frozenset()

    def __init__(self, blocks: tuple[Slot, ...], heads_by_width: Mapping[int, Slot]) -> None:
        super().__init__()
        self.depth, self.dims = len(blocks), tuple(heads_by_width)

    def forward(self, conditions: Mapping[int, Condition]) -> Modulations:
        """Nothing."""
        return Modulations(blocks=[()] * self.depth, heads=dict.fromkeys(self.dims, ()))


@part("modulation", "in_context")
class InContext(Modulation):
    """Label and noise level as tokens in front of the image's, in this order, and no vectors: DiT's in-context
    conditioning (section 3.2), U-ViT's tokens."""

    gives = frozenset({"prefix"})

    def __init__(
        self, blocks: tuple[Slot, ...], heads_by_width: Mapping[int, Slot], widths: tuple[int, ...], has_label: bool
    ) -> None:
        super().__init__()
        self.depth, self.dims, self.widths = len(blocks), tuple(heads_by_width), widths
        self.tokens = 2 if has_label else 1

    def forward(self, conditions: Mapping[int, Condition]) -> Modulations:
        """Tokens of every width."""
        return Modulations(
            blocks=[()] * self.depth,
            heads=dict.fromkeys(self.dims, ()),
            tokens={width: _as_tokens(conditions[width]) for width in self.widths},
        )


def _as_tokens(condition: Condition) -> Float[Tensor, "B n D"]:
    time = condition.time if condition.stage is None else condition.time + condition.stage
    return torch.stack([time] if condition.label is None else [condition.label, time], dim=1)


def _active(conditions: Mapping[int, Condition]) -> dict[int, Tensor]:
    return {width: F.silu(condition.sum) for width, condition in conditions.items()}


def _linear(slot: Slot, init: Init) -> Linear:
    return Linear(slot.condition, slot.vectors * slot.dim, init=init)


def _name(slot: Slot) -> str:
    return f"{slot.dim}_{slot.vectors}"


def _heads(slots: Mapping[int, Slot]) -> nn.Module:
    return keyed({str(dim): _linear(slot, "zero") for dim, slot in slots.items() if slot.vectors})


def _vectors(linear: nn.Module, slot: Slot, active: Mapping[int, Tensor]) -> Vectors:
    return tuple(linear(active[slot.condition]).chunk(slot.vectors, dim=1)) if slot.vectors else ()


def _head_vectors(heads: nn.Module, slots: Mapping[int, Slot], active: Mapping[int, Tensor]) -> dict[int, Vectors]:
    return {dim: _vectors(at_key(heads, str(dim)), slot, active) if slot.vectors else () for dim, slot in slots.items()}
