"""Built-in transformer blocks."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from zoo.parts.base import Block, BlockModulation, Layout
from zoo.parts.layers import MLP, Linear, layer_norm, modulate
from zoo.registry import part


@part("block", "dit")
class DiTBlock(Block):
    """Attention and MLP, each after a modulated LayerNorm and behind a gate: DiT (section 3.2).

    Options:
        mlp_ratio: hidden width of the MLP over dim.
    """

    def __init__(self, dim: int, heads: int, *, mlp_ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.mlp = MLP(dim, mlp_ratio)

    def forward(
        self, tokens: Float[Tensor, "B T D"], modulation: BlockModulation, layout: Layout
    ) -> Float[Tensor, "B T D"]:
        """Tokens of the same shape."""
        attended = self.attention(modulate(layer_norm(tokens), modulation.attention))
        tokens = tokens + modulation.attention_gate.unsqueeze(1) * attended
        mixed = self.mlp(modulate(layer_norm(tokens), modulation.mlp))
        return tokens + modulation.mlp_gate.unsqueeze(1) * mixed


class Attention(nn.Module):
    """Multi-head self-attention over all tokens. Rows of ``qkv``: q, k, v, each heads x head_dim."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} does not divide by {heads} heads")
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Attend from every token to every token of the same sample."""
        q, k, v = rearrange(self.qkv(x), "b t (three h d) -> three b h t d", three=3, h=self.heads).unbind()
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h t d -> b t (h d)"))
