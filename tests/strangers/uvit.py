"""Blocks without any vector, with long skips, and a head to go with them: U-ViT's. All is said by tokens in front."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo.parts import Block, Grid, Layout, Linear, Place, TokenHead, Vectors


class SkippingBlock(Block):
    """Attention and MLP behind affine norms; where it takes an earlier output, a Linear of both comes before."""

    modulation_vectors = 0

    def __init__(self, dim: int, heads: int, taken: set[int | None]) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} does not divide by {heads} heads")
        if len(taken) > 1:
            raise ValueError(f"takes the output of another block in one stage than in another: {taken}")
        self.heads, self.takes = heads, tuple(each for each in taken if each is not None)
        self.skip = Linear(2 * dim, dim, init="normal") if self.takes else None
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = Linear(dim, 3 * dim, bias=False, init="normal")
        self.proj = Linear(dim, dim, init="normal")
        self.fc1 = Linear(dim, 4 * dim, init="normal")
        self.fc2 = Linear(4 * dim, dim, init="normal")

    def forward_stage(self, tokens: Tensor, vectors: Vectors, layout: Layout, *taken: Tensor) -> Tensor:
        if self.skip is not None:
            tokens = self.skip(torch.cat([tokens, *taken], dim=2)).to(tokens.dtype)
        tokens = tokens + self.proj(self.attend(self.norm1(tokens)))
        return tokens + self.fc2(F.gelu(self.fc1(self.norm2(tokens))))

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def last_in_first_out(index: int, blocks: int) -> int | None:
    """The block whose output the ``index``-th of so many takes; of an odd number that in the middle takes none."""
    other = blocks - 1 - index
    return other if other < index else None


def in_its_level(place: Place) -> int | None:
    """The same within the levels of a stage."""
    taken = last_in_first_out(place.block, place.levels[place.level].blocks)
    return None if taken is None else taken + sum(level.blocks for level in place.levels[: place.level])


@zoo.part("block", "uvit")
class UViTBlock(SkippingBlock):
    """Skips from the first half of all blocks to the second, through whatever levels there are in between."""

    def __init__(self, dim: int, heads: int, depth: int, index: int) -> None:
        super().__init__(dim, heads, {last_in_first_out(index, depth)})


@zoo.part("block", "uvit_by_level")
class UViTLevelBlock(SkippingBlock):
    """Skips from the first half of every level to the second."""

    def __init__(self, dim: int, heads: int, places: tuple[Place, ...]) -> None:
        super().__init__(dim, heads, {in_its_level(place) for place in places})


@zoo.part("head", "plain")
class PlainHead(TokenHead):
    """An affine LayerNorm and a Linear."""

    modulation_vectors = 0

    def __init__(self, dim: int, channels: int, patch: Grid) -> None:
        super().__init__(patch)
        pixels = channels
        for side in patch:
            pixels *= side
        self.norm = nn.LayerNorm(dim)
        self.proj = Linear(dim, pixels, init="normal")

    def pixels(self, tokens: Tensor, vectors: Vectors, grid: Grid) -> Tensor:
        return self.proj(self.norm(tokens))


PARTS = [UViTBlock, UViTLevelBlock, PlainHead]
