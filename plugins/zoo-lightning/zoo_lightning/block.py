"""LightningDiT's transformer block.

Letters in shapes: B batch, b samples of one stage, D width, N image tokens, m tokens in front of them, T = m + N all
tokens.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Block, Layout, Linear, Rotary, Vectors, modulate, rotate

NORM_EPS = 1e-6


@zoo.part("block", "lightning")
class LightningBlock(Block):
    """RMSNorm, SwiGLU, QK-norm and rotary attention behind adaLN's gates: LightningDiT (Yao et al., 2025).

    The norms in front of attention and MLP have no weight: the modulation scales what they return.

    Options:
        mlp_ratio: hidden width of the plain MLP that SwiGLU stands in for, over dim; SwiGLU's is 2/3 of that.
        multiple_of: SwiGLU's hidden width is rounded to a multiple of this.

    Raises:
        ValueError: dim does not divide into heads of even width.
    """

    needs = frozenset({"rotary"})
    lends = (3, 4)

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0,
        multiple_of: Annotated[int, Field(ge=1, le=1024)] = 8,
    ) -> None:
        super().__init__()
        if dim % (2 * heads):
            raise ValueError(f"dim {dim} does not divide into {heads} heads of even width")
        self.attention = Attention(dim, heads)
        self.mlp = SwiGLU(dim, swiglu_width(dim, mlp_ratio, multiple_of))

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape; those of the image attend by their relative positions."""
        assert layout.rotary is not None, "zoo pairs this block with a position that gives rotary angles"
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors
        attended = self.attention(modulate(rms_norm(tokens), shift1, scale1), layout.rotary, layout.m)
        tokens = tokens + gate1.unsqueeze(1) * attended
        mixed = self.mlp(modulate(rms_norm(tokens), shift2, scale2))
        return tokens + gate2.unsqueeze(1) * mixed


class Attention(nn.Module):
    """Multi-head self-attention with RMS-normalised queries and keys (QK-norm: Henry et al., 2020; Esser et al., 2024).

    Rows of ``qkv``: q, k, v, each heads x head_dim. ``q_norm`` and ``k_norm``: the norms' weights
    ``[head_dim]``, shared by the heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.q_norm = nn.Parameter(torch.empty(dim // heads))
        self.k_norm = nn.Parameter(torch.empty(dim // heads))
        self.proj = Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights of both norms to one."""
        nn.init.ones_(self.q_norm)
        nn.init.ones_(self.k_norm)

    def forward(self, x: Float[Tensor, "B T D"], rotary: Rotary, m: int) -> Float[Tensor, "B T D"]:
        """Attend from every token to every token; all but the first m are turned by ``rotary``."""
        q, k, v = rearrange(self.qkv(x), "b t (three h d) -> three b h t d", three=3, h=self.heads).unbind()
        q = rotate(rms_norm(q, self.q_norm), rotary, m)
        k = rotate(rms_norm(k, self.k_norm), rotary, m)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h t d -> b t (h d)"))


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


def swiglu_width(dim: int, mlp_ratio: float, multiple_of: int) -> int:
    """2/3 of ``mlp_ratio * dim``, as three matrices replace two, rounded to the nearest positive multiple."""
    return multiple_of * max(1, round(2 * mlp_ratio * dim / 3 / multiple_of))


def rms_norm(x: Float[Tensor, "*batch d"], weight: Float[Tensor, " d"] | None = None) -> Float[Tensor, "*batch d"]:
    """RMSNorm over the last axis, with a weight or without, eps 1e-6 (Zhang and Sennrich, 2019)."""
    # Under autocast the weight stays float32, and two dtypes would miss the fused kernel.
    weight = None if weight is None else weight.to(x.dtype)
    return F.rms_norm(x, x.shape[-1:], weight, NORM_EPS)
