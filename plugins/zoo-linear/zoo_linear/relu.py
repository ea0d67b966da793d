"""Linear attention by ReLU: the attention of LiT and that of SANA, and SANA's Mix-FFN.

Letters in shapes: b samples of one stage, D width, N image tokens, m tokens in front of them, T = m + N all tokens, h
heads, d width of a head.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import MLP, Attention, Layout, Linear, Norm, Part, behind, by_head, to_map, to_tokens, width_of_head
from zoo_linear.precision import widened, without_autocast

LIT_EPS, SANA_EPS = 1e-6, 1e-8


@zoo.part("attention", "lit")
class LiTAttention(Attention):
    """Linear attention by ReLU with few heads, and a depthwise convolution of the values: LiT (Wang et al., 2025).

    The convolution has one kernel for each channel of a head, the same for all heads. Tokens in front, which have no
    place on the map, take part in the attention alone. Rows of ``qkv``: q, k, v, each heads x d.

    Options:
        reach: tokens on each side that the convolution sees: 2 for 5x5.

    Raises:
        ValueError: dim is not divisible by heads.
    """

    axes = frozenset({2})
    refuses = frozenset({"subset"})

    def __init__(self, dim: int, heads: int, *, reach: Annotated[int, Field(ge=0, le=16)] = 2) -> None:
        super().__init__()
        width = width_of_head(dim, heads)
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.depthwise = nn.Conv2d(width, width, 2 * reach + 1, padding=reach, groups=width)
        self.proj = Linear(dim, dim)

    def forward_stage(self, tokens: Float[Tensor, "b T D"], layout: Layout) -> Float[Tensor, "b T D"]:
        """Every token sees every token of the same sample, and those of the image their neighbours."""
        q, k, v = by_head(self.qkv(tokens), self.heads)
        with without_autocast(tokens.device.type):
            q, k, values = widened(q, k, v)
            q, k = F.relu(q) + LIT_EPS, F.relu(k) + LIT_EPS
            attended = linear_attention(q, k / k.shape[2], values, LIT_EPS).to(v.dtype)
        near = to_tokens(self.depthwise(to_map(v[:, :, layout.m :].flatten(0, 1), layout.grid)))
        near = near.unflatten(0, (-1, self.heads))  # type: ignore[no-untyped-call]
        attended = attended + F.pad(near, (0, 0, layout.m, 0))
        return self.proj(attended.transpose(1, 2).flatten(2))


@zoo.part("attention", "sana")
class SANAAttention(Attention):
    """Linear attention by ReLU: SANA (Xie et al., 2025). Rows of ``qkv``: q, k, v, each heads x d.

    Options:
        qk_norm: of queries and keys, each over all heads; SANA-1.5's is ``{type: rms, affine: true, eps: 1.0e-5}``.

    Raises:
        ValueError: dim is not divisible by heads.
    """

    def __init__(self, dim: int, heads: int, *, qk_norm: Part[Norm] | None = None) -> None:
        super().__init__()
        width_of_head(dim, heads)  # or it refuses
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.q_norm = None if qk_norm is None else qk_norm(dim)
        self.k_norm = None if qk_norm is None else qk_norm(dim)
        self.proj = Linear(dim, dim)

    def forward_stage(self, tokens: Float[Tensor, "b T D"], layout: Layout) -> Float[Tensor, "b T D"]:
        """Every token sees every token of the same sample."""
        qkv = self.qkv(tokens)
        if self.q_norm is not None and self.k_norm is not None:
            q, k, v = qkv.chunk(3, dim=2)
            qkv = torch.cat([self.q_norm(q), self.k_norm(k), v], dim=2)
        q, k, v = by_head(qkv, self.heads)
        with without_autocast(tokens.device.type):
            q, k, values = widened(q, k, v)
            attended = linear_attention(F.relu(q), F.relu(k), values, SANA_EPS).to(v.dtype)
        return self.proj(attended.transpose(1, 2).flatten(2))


@zoo.part("mlp", "mix_ffn")
class MixFFN(MLP):
    """A Linear, a depthwise 3x3 convolution, a gate and a Linear: SANA's Mix-FFN (Xie et al., 2025).

    Tokens in front, which have no place on the map, go past the convolution. Rows of ``expand``: value, gate.

    Options:
        ratio: hidden width, of values and of gates, over dim.

    Raises:
        ValueError: no hidden width is left.
    """

    axes = frozenset({2})
    refuses = frozenset({"subset"})

    def __init__(self, dim: int, *, ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 2.5) -> None:
        super().__init__()
        hidden = int(ratio * dim)
        if not hidden:
            raise ValueError(f"{ratio * dim:g} hidden units are none; raise the ratio")
        self.expand = nn.Linear(dim, 2 * hidden)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.out = nn.Linear(hidden, dim, bias=False)

    def forward(self, tokens: Float[Tensor, "b T D"], layout: Layout) -> Float[Tensor, "b T D"]:
        """Every token alone but for the convolution."""
        x = F.silu(self.expand(tokens))
        image = to_tokens(self.depthwise(to_map(x[:, layout.m :], layout.grid)))
        value, gate = behind(x[:, : layout.m], image).chunk(2, dim=2)
        return self.out(value * F.silu(gate))


def linear_attention(
    q: Float[Tensor, "b h T d"], k: Float[Tensor, "b h T d"], v: Float[Tensor, "b h T d"], eps: float
) -> Float[Tensor, "b h T d"]:
    """``sum_j (q_i . k_j) v_j / (sum_j q_i . k_j + eps)``, for queries and keys that are not negative.

    The sums over keys come first, of values and of ones behind them: 2 (d + 1) multiply-adds a channel and token.
    """
    read = q @ (k.mT @ F.pad(v, (0, 1), value=1.0))
    return read[..., :-1] / (read[..., -1:] + eps)
