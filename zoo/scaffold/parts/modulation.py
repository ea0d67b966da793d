"""A modulation: how time, label and stage steer blocks and heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Condition, Linear, Modulation, Modulations, Slot, Vectors


@zoo.part("modulation", "mine")
class MineModulation(Modulation):
    """Example: low-rank adaLN: a narrow layer for all, and a Linear from it, starting at zero, for each block and head.

    Options:
        rank: width of the narrow layer.
    """

    def __init__(
        self,
        blocks: tuple[Slot, ...],
        heads_by_width: Mapping[int, Slot],
        *,
        rank: Annotated[int, Field(ge=1, le=4096)] = 32,
    ) -> None:
        super().__init__()
        self.block_slots, self.head_slots = blocks, dict(heads_by_width)
        asking = [slot for slot in (*blocks, *heads_by_width.values()) if slot.vectors]
        self.narrow = nn.ModuleDict({str(slot.condition): Linear(slot.condition, rank) for slot in asking})
        self.blocks = nn.ModuleList(_widening(slot, rank) for slot in blocks)
        self.heads = nn.ModuleDict({str(dim): _widening(slot, rank) for dim, slot in heads_by_width.items()})

    def forward(self, conditions: Mapping[int, Condition]) -> Modulations:
        """As many vectors for each block and head as it asks for; none for those that ask for none."""
        narrow = {width: layer(F.silu(conditions[int(width)].sum)) for width, layer in self.narrow.items()}
        return Modulations(
            blocks=[_vectors(layer, slot, narrow) for layer, slot in zip(self.blocks, self.block_slots, strict=True)],
            heads={dim: _vectors(self.heads[str(dim)], slot, narrow) for dim, slot in self.head_slots.items()},
        )


def _widening(slot: Slot, rank: int) -> nn.Module:
    return Linear(rank, slot.vectors * slot.dim, init="zero") if slot.vectors else nn.Identity()


def _vectors(layer: nn.Module, slot: Slot, narrow: Mapping[str, Tensor]) -> Vectors:
    if not slot.vectors:
        return ()
    return tuple(layer(F.silu(narrow[str(slot.condition)])).chunk(slot.vectors, dim=1))
