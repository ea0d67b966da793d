"""DiG's block: gated linear attention along four scans.

Letters in shapes: b samples of one stage, D width, N image tokens, h heads, K key width and V value width of a head.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Block, Grid, Layout, Linear, RMSNorm, SwiGLU, Vectors, layer_norm, modulate, to_map, to_tokens
from zoo_linear.gated import gated_linear_attention
from zoo_linear.precision import widened, without_autocast

RANK = 16
"""Width that the decays pass through."""

SLOWER = 16
"""Decays are a sigmoid to the power of one over this."""


@zoo.part("block", "dig")
class DiGBlock(Block):
    """Gated linear attention along a scan, SwiGLU, and a depthwise 3x3 convolution of it all: DiG (Zhu et al., 2024).

    Four blocks in a row scan the image by rows, by rows from the end, by columns, and by columns from the end: which of
    these follows from the block's index alone. The convolution, the identity at first, is no branch: what it returns
    goes on.

    Options:
        mlp_ratio: hidden width of the plain MLP that SwiGLU stands in for, over dim; SwiGLU's is 2/3 of that.
        multiple_of: SwiGLU's hidden width is rounded up to a multiple of this.

    Raises:
        ValueError: dim is not divisible into heads of even width.
    """

    axes = frozenset({2})
    refuses = frozenset({"prefix", "subset"})
    lends = (3, 4)

    def __init__(
        self,
        dim: int,
        heads: int,
        index: int,
        *,
        mlp_ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0,
        multiple_of: Annotated[int, Field(ge=1, le=1024)] = 256,
    ) -> None:
        super().__init__()
        if dim % (2 * heads):
            raise ValueError(f"dim {dim} is not divisible into {heads} heads of even width")
        self.backward, self.by_columns = bool(index % 2), index % 4 >= 2
        self.attention = GatedAttention(dim, heads)
        self.mlp = SwiGLU(dim, ratio=mlp_ratio, multiple_of=multiple_of, rounding="up", bias=False)
        self.depthwise = DepthwiseIdentity(dim)

    def forward_stage(
        self, tokens: Float[Tensor, "b N D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b N D"]
    ) -> Float[Tensor, "b N D"]:
        """Tokens of the same shape, each of which has seen those before it along the scan."""
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors
        x = self._turned(tokens, layout.grid)
        x = x + gate1.unsqueeze(1) * self.attention(modulate(layer_norm(x), shift1, scale1))
        x = x + gate2.unsqueeze(1) * self.mlp(modulate(layer_norm(x), shift2, scale2))
        grid = layout.grid[::-1] if self.by_columns else layout.grid
        with without_autocast(x.device.type):  # or it would round what goes on
            x = to_tokens(self.depthwise(to_map(x, grid)))
        return self._turned_back(x, layout.grid)

    def _turned(self, tokens: Float[Tensor, "b N D"], grid: Grid) -> Float[Tensor, "b N D"]:
        """Image tokens, row-major, in the order of the scan."""
        if self.by_columns:
            tokens = tokens.unflatten(1, grid).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]
        return tokens.flip(1) if self.backward else tokens

    def _turned_back(self, tokens: Float[Tensor, "b N D"], grid: Grid) -> Float[Tensor, "b N D"]:
        """Image tokens in the order of the scan, row-major."""
        if self.backward:
            tokens = tokens.flip(1)
        if self.by_columns:
            return tokens.unflatten(1, grid[::-1]).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]
        return tokens


class GatedAttention(nn.Module):
    """Gated linear attention with keys of half the width, a norm of every head's values, and an output gate.

    ``norm``: its weight ``[V]`` is shared by the heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = DampedLinear(dim, dim // 2, bias=False), DampedLinear(dim, dim // 2, bias=False)
        self.v, self.gate = DampedLinear(dim, dim, bias=False), DampedLinear(dim, dim, bias=False)
        self.decay_in, self.decay = DampedLinear(dim, RANK, bias=False), DampedLinear(RANK, dim // 2)
        self.norm = RMSNorm(dim // heads, affine=True)
        self.out = DampedLinear(dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "b N D"]) -> Float[Tensor, "b N D"]:
        """Every token sees itself and those before it."""
        q, k, v, decay = (
            self._by_head(each) for each in (self.q(x), self.k(x), self.v(x), self.decay(self.decay_in(x)))
        )
        with without_autocast(x.device.type):
            (decay,) = widened(decay)
            read = gated_linear_attention(q, k, v, F.logsigmoid(decay) / SLOWER)
        normed = self.norm(read.to(v.dtype)).transpose(1, 2).flatten(2)
        return self.out(normed * F.silu(self.gate(x)))

    def _by_head(self, x: Float[Tensor, "b N columns"]) -> Float[Tensor, "b h N d"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]


class DampedLinear(Linear):
    """A Linear that starts xavier-uniform with a gain of 2^-2.5, as all of DiG's attention does."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.xavier_uniform_(self.weight, gain=2**-2.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class DepthwiseIdentity(nn.Conv2d):
    """A depthwise 3x3 convolution that returns at first what it is given."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, 3, padding=1, groups=dim)

    def reset_parameters(self) -> None:
        """Set the kernels to the identity."""
        nn.init.dirac_(self.weight, groups=self.groups)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
