"""An attention: what the tokens of a block see of each other."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import Attention, Layout, Linear, RMSNorm, by_head, rotate, width_of_head


@zoo.part("attention", "mine")
class MineAttention(Attention):
    """Example: Softmax over cosines of queries and keys, times a factor (Liu et al., 2022, arXiv 2111.09883, 3.3).

    Options:
        factor: what the cosines are multiplied by.

    Raises:
        ValueError: dim is not divisible by heads.
    """

    uses = frozenset({"rotary"})

    def __init__(self, dim: int, heads: int, *, factor: Annotated[float, Field(gt=0.0, le=100.0)] = 10.0) -> None:
        super().__init__()
        width = width_of_head(dim, heads)
        self.heads, self.scale = heads, factor / width
        self.qkv = Linear(dim, 3 * dim)
        self.norm = RMSNorm(width)
        self.proj = Linear(dim, dim)

    def forward_stage(self, tokens: Float[Tensor, "b T D"], layout: Layout) -> Float[Tensor, "b T D"]:
        """Every token sees every token of the same sample."""
        q, k, v = by_head(self.qkv(tokens), self.heads)
        q, k = self.norm(q), self.norm(k)  # of length sqrt(head width), which the scale takes out again
        if layout.rotary is not None:
            q, k = (rotate(each, layout.rotary, layout.m) for each in (q, k))
        attended = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(attended.transpose(1, 2).flatten(2))
