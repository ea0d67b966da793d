"""DiC's block, which takes skips itself, and its head, all of 3x3 convolutions.

Letters in shapes: b samples of one stage, C latent channels, D width, N image tokens, P pixels of a patch in all
channels.
"""

from __future__ import annotations

from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import (
    Block,
    Grid,
    Layout,
    Place,
    TokenHead,
    Vectors,
    convolution,
    layer_norm,
    modulate,
    to_map,
    to_tokens,
)
from zoo_conv.resamplers import on_map


def skip_into(place: Place, every: int) -> int | None:
    """The block, by its index, whose output the block at this place takes, or None: last in, first out.

    On the way down the last block of a level leaves its output, and every ``every``-th one before it; on the way up,
    at the same patch and width, the first block of a level takes one, and every ``every``-th one after it.
    """
    levels, here = place.levels, place.levels[place.level].node
    down = [number for number in range(place.level) if levels[number].node == here]
    if not down or place.block % every:
        return None
    block = levels[down[-1]].blocks - 1 - place.block
    return sum(level.blocks for level in levels[: down[-1]]) + block if block >= 0 else None


@zoo.part("block", "dic")
class DiCBlock(Block):
    """Two 3x3 convolutions behind GroupNorm and GELU; gate, scale and shift act between them: DiC (Tian et al., 2025).

    On the way up of an hourglass some take a skip, side by side with the tokens, and bring both to one width.

    Options:
        every: blocks from one skip to the next.

    Raises:
        ValueError: a block would take the output of another one in one stage than in another.
    """

    refuses = frozenset({"prefix", "subset"})
    modulation_vectors = 3
    lends = (2, 1)

    def __init__(
        self, dim: int, places: tuple[Place, ...], axes: int, *, every: Annotated[int, Field(ge=1, le=64)] = 3
    ) -> None:
        super().__init__()
        skips = {skip_into(place, every) for place in places}
        if len(skips) > 1:
            raise ValueError(f"takes the output of another block in one stage than in another: {skips}")
        self.takes = tuple(skip for skip in skips if skip is not None)
        width, kernel = dim * (1 + len(self.takes)), (3,) * axes
        self.norm1, self.norm2 = group_norm(width), group_norm(dim)
        self.conv1 = convolution(width, dim, kernel)
        self.conv2 = convolution(dim, dim, kernel)
        self.residual = convolution(width, dim, (1,) * axes) if self.takes else nn.Identity()

    def forward_stage(
        self, tokens: Float[Tensor, "b N D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b N D"]
    ) -> Float[Tensor, "b N D"]:
        """Tokens of the same shape."""
        x = to_map(torch.cat([tokens, *taken], dim=2), layout.grid).contiguous()  # as nn.GroupNorm needs it
        gate, scale, shift = (vector.reshape(*vector.shape, *(1,) * len(layout.grid)) for vector in vectors)
        h = self.norm2(self.conv1(F.gelu(self.norm1(x))))
        h = self.conv2(F.gelu(h * (1 + scale) + shift))
        return to_tokens(gate * h + self.residual(x).to(x.dtype))


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with groups of four channels, and of more where 32 groups do not suffice.

    Raises:
        ValueError: channels do not divide into so many groups.
    """
    groups = min(32, max(1, channels // 4))
    if channels % groups:
        raise ValueError(f"width {channels} is not divisible into {groups} groups")
    return nn.GroupNorm(groups, channels)


@zoo.part("head", "dic")
class DiCHead(TokenHead):
    """A 3x3 convolution, modulated LayerNorm, and a 3x3 convolution that starts at zero: DiC.

    Row order of ``proj.weight``: (row in patch, column in patch, channel).

    Options:
        learn_sigma: 2C output channels, the second half dropped.
    """

    def __init__(self, dim: int, channels: int, patch: Grid, *, learn_sigma: bool = False) -> None:
        super().__init__(patch)
        self.channels, kernel = channels, (3,) * len(patch)
        self.conv = convolution(dim, dim, kernel)
        self.proj = convolution(dim, prod(patch) * channels * (2 if learn_sigma else 1), kernel, init="zero")

    def pixels(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b N P"]:
        """Each token's, from its neighbours too."""
        return on_map(self.proj, modulate(layer_norm(on_map(self.conv, tokens, grid)), *vectors), grid)

    def forward(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b C *size"]:
        """The first C channels of the pixels of all tokens, in their places."""
        return super().forward(tokens, vectors, grid)[:, : self.channels]
