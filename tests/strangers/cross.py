"""A block that attends to a context beside its own tokens, as PixArt's, and a conditioner that gives one."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import (
    GELUMLP,
    MLP,
    Block,
    ClassCondition,
    Embedding,
    IndexConditioner,
    Layout,
    Linear,
    Part,
    Vectors,
    layer_norm,
    modulate,
)


@zoo.part("block", "cross")
class CrossBlock(Block):
    """Modulated self-attention, plain cross-attention to the context, and a modulated MLP.

    Options:
        mlp: what each token goes through.
    """

    needs = frozenset({"context"})

    def __init__(self, dim: int, heads: int, condition_dim: int, *, mlp: Part[MLP] = GELUMLP) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not divisible by heads {heads}")
        self.heads = heads
        self.qkv, self.proj = Linear(dim, 3 * dim), Linear(dim, dim)
        self.q, self.kv = Linear(dim, dim), Linear(condition_dim, 2 * dim)
        self.out = Linear(dim, dim, init="zero")
        self.mlp = mlp(dim)

    def forward_stage(self, tokens: Tensor, vectors: Vectors, layout: Layout, *taken: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors
        q, k, v = self.by_head(self.qkv(modulate(layer_norm(tokens), shift1, scale1)), 3)
        tokens = tokens + gate1.unsqueeze(1) * self.proj(_attend(q, k, v))
        (q,), (k, v) = self.by_head(self.q(tokens), 1), self.by_head(self.kv(layout.context), 2)
        there = layout.context_mask
        tokens = tokens + self.out(_attend(q, k, v, None if there is None else there[:, None, None]))
        return tokens + gate2.unsqueeze(1) * self.mlp(modulate(layer_norm(tokens), shift2, scale2), layout)

    def by_head(self, x: Tensor, several: int) -> Tensor:
        return x.unflatten(2, (several, self.heads, -1)).permute(2, 0, 3, 1, 4)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


@zoo.part("class_conditioner", "captions")
class Captions(IndexConditioner):
    """A caption of learned tokens for every class, each of another length, padded to the longest; and a short null.

    Options:
        length: tokens of the longest.
    """

    gives = frozenset({"context"})

    def __init__(self, dim: int, num_classes: int, *, length: Annotated[int, Field(ge=1, le=64)] = 4) -> None:
        super().__init__(num_classes)
        self.length = length
        self.tokens = Embedding(num_classes + 1, length * dim, std=1.0)
        self.register_buffer("lengths", torch.empty(num_classes + 1, dtype=torch.long))
        self.lengths: Tensor
        self.reset_parameters()

    def reset_parameters(self) -> None:
        number = torch.arange(self.num_classes + 1, device=self.lengths.device)
        self.lengths.copy_(torch.where(number == self.num_classes, 1, 1 + number % self.length))

    def forward(self, labels: Tensor) -> ClassCondition:
        place = torch.arange(self.length, device=labels.device)
        return ClassCondition(
            context=self.tokens(labels).unflatten(1, (self.length, -1)),
            context_mask=place < self.lengths[labels].unsqueeze(1),
        )


PARTS = [CrossBlock, Captions]
