"""Built-in modulations: how the condition steers the blocks (adaptive LayerNorm)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zoo.parts.base import Affine, BlockModulation, Modulation, Modulations
from zoo.parts.layers import Linear
from zoo.registry import part


@part("modulation", "adaln_zero")
class AdaLNZero(Modulation):
    """A Linear of its own for every block and for the head, starting at zero: DiT (section 3.2)."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Linear(dim, 6 * dim, init="zero") for _ in range(depth))
        self.head = Linear(dim, 2 * dim, init="zero")

    def forward(self, condition: Float[Tensor, "B D"]) -> Modulations:
        """Modulations of all blocks and of the head."""
        active = F.silu(condition)
        return Modulations(
            blocks=[_split(block(active)) for block in self.blocks],
            head=Affine(*self.head(active).chunk(2, dim=1)),
        )


@part("modulation", "shared_adaln")
class SharedAdaLN(Modulation):
    """One Linear for all blocks; the head takes the MLP's shift and scale: MPDiT (section 3.2, table 3)."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.shared = Linear(dim, 6 * dim, init="zero")

    def forward(self, condition: Float[Tensor, "B D"]) -> Modulations:
        """The same modulation ``depth`` times, and its MLP's shift and scale for the head."""
        shared = _split(self.shared(F.silu(condition)))
        return Modulations(blocks=[shared] * self.depth, head=shared.mlp)


@part("modulation", "adaln_single")
class AdaLNSingle(Modulation):
    """One Linear for all blocks plus a learned table for each, and for the head on the condition itself: PixArt."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.shared = Linear(dim, 6 * dim, init="zero")
        self.tables = nn.Parameter(torch.empty(depth, 6 * dim))
        self.head_table = nn.Parameter(torch.empty(2, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the tables to zero."""
        nn.init.zeros_(self.tables)
        nn.init.zeros_(self.head_table)

    def forward(self, condition: Float[Tensor, "B D"]) -> Modulations:
        """The shared modulation shifted by each block's table."""
        shared = self.shared(F.silu(condition))
        return Modulations(
            blocks=[_split(shared + table) for table in self.tables],
            head=Affine(condition + self.head_table[0], condition + self.head_table[1]),
        )


def _split(values: Float[Tensor, "B six_D"]) -> BlockModulation:
    """Shift, scale and gate of attention, then of the MLP."""
    shift1, scale1, gate1, shift2, scale2, gate2 = values.chunk(6, dim=1)
    return BlockModulation(Affine(shift1, scale1), gate1, Affine(shift2, scale2), gate2)
