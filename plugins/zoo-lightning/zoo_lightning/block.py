"""LightningDiT's transformer block.

Letters in shapes: B batch, b samples of one stage, D width, T tokens, those in front and the image's.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Block, Layout, Linear, RMSNorm, Vectors, by_head, modulate, rotate


@zoo.part("block", "lightning")
class LightningBlock(Block):
    """RMSNorm, SwiGLU and rotary attention behind adaLN's gates: LightningDiT (Yao et al., 2025).

    Options:
        mlp_ratio: hidden width of the plain MLP that SwiGLU stands in for, over dim; SwiGLU's is 2/3 of that, rounded
            down.
        qk_norm: whether queries and keys are normalised before they are turned, against losses that become NaN in long
            runs.

    Raises:
        ValueError: dim is not divisible into heads of even width, or no hidden width is left.
    """

    version = 2
    needs = frozenset({"rotary"})
    lends = (3, 4)

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        if dim % (2 * heads):
            raise ValueError(f"dim {dim} is not divisible into {heads} heads of even width")
        hidden = int(2 * mlp_ratio * dim / 3)
        if not hidden:
            raise ValueError(f"mlp_ratio {mlp_ratio:g} leaves no hidden unit of dim {dim}")
        self.norm1, self.norm2 = RMSNorm(dim, affine=True), RMSNorm(dim, affine=True)
        self.attention = Attention(dim, heads, qk_norm)
        self.mlp = SwiGLU(dim, hidden)

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape; those of the image attend by their relative positions."""
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors
        attended = self.attention(modulate(self.norm1(tokens), shift1, scale1), layout)
        tokens = tokens + gate1.unsqueeze(1) * attended
        mixed = self.mlp(modulate(self.norm2(tokens), shift2, scale2))
        return tokens + gate2.unsqueeze(1) * mixed


class Attention(nn.Module):
    """Multi-head self-attention, with RMS-normalised queries and keys (Henry et al., 2020) or without.

    Rows of ``qkv``: q, k, v, each heads x head_dim. The weights of ``q_norm`` and ``k_norm`` are shared by the heads.
    """

    def __init__(self, dim: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.q_norm = RMSNorm(dim // heads, affine=True) if qk_norm else nn.Identity()
        self.k_norm = RMSNorm(dim // heads, affine=True) if qk_norm else nn.Identity()
        self.proj = Linear(dim, dim)

    def forward(self, x: Float[Tensor, "B T D"], layout: Layout) -> Float[Tensor, "B T D"]:
        """Attend from every token to every token; all but those in front are turned."""
        assert layout.rotary is not None, "zoo pairs this block with a position that gives rotary angles"
        q, k, v = by_head(self.qkv(x), self.heads)
        q = rotate(self.q_norm(q), layout.rotary, layout.m)
        k = rotate(self.k_norm(k), layout.rotary, layout.m)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """``(silu(x W_gate) * x W_value) W_out`` (Shazeer, GLU Variants Improve Transformer, 2020, equation 6).

    Rows of ``gate_value``: gate, value, each ``hidden``.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_value = Linear(dim, 2 * hidden)
        self.out = Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Apply to the last axis."""
        gate, value = self.gate_value(x).chunk(2, dim=-1)
        return self.out(F.silu(gate) * value)
