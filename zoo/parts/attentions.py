"""Attention of a block, and the built-in forms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zoo.parts.layers import Linear, joined, rotate
from zoo.parts.module_part import ModulePart, stage_by_stage
from zoo.parts.norms import Norm
from zoo.parts.values import Layout
from zoo.registry import part
from zoo.signature import Part


class Attention(ModulePart, ABC):
    """What lets the tokens of a block see each other, or what is beside them.

    Constructor: ``(dim, heads, axes, condition_dim, *, options)``.
    """

    kind = "attention"

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that says ``forward_stage`` anew and not ``forward`` is called by the loop over it."""
        super().__init_subclass__(**options)
        stage_by_stage(cls, Attention)

    @abstractmethod
    def forward_stage(self, tokens: Float[Tensor, "b T D"], layout: Layout) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape; the first ``layout.m`` are not the image's."""

    def forward(self, tokens: Sequence[Float[Tensor, "_ _ D"]], layouts: Sequence[Layout]) -> list[Tensor]:
        """The tokens of all stages in one call; may be overridden, as that of a block."""
        return [self.forward_stage(x, layout) for x, layout in zip(tokens, layouts, strict=True)]


@part("attention", "softmax")
class SoftmaxAttention(Attention):
    """Multi-head self-attention over all tokens (Vaswani et al., 2017), relative where positions give angles.

    Rows of ``qkv``: q, k, v, each heads x head_dim.

    Options:
        qk_norm: of queries and keys, each over the width of a head (Henry et al., 2020).
        bias: whether q, k and v have one.

    Raises:
        ValueError: dim is not divisible by heads.
    """

    uses = frozenset({"rotary"})

    def __init__(self, dim: int, heads: int, *, qk_norm: Part[Norm] | None = None, bias: bool = True) -> None:
        super().__init__()
        head_dim = width_of_head(dim, heads)
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim, bias=bias)
        self.q_norm = None if qk_norm is None else qk_norm(head_dim)
        self.k_norm = None if qk_norm is None else qk_norm(head_dim)
        self.proj = Linear(dim, dim)

    def forward_stage(self, tokens: Float[Tensor, "b T D"], layout: Layout) -> Float[Tensor, "b T D"]:
        """Every token sees every token of the same sample."""
        return SoftmaxAttention.forward(self, [tokens], [layout])[0]

    def forward(self, tokens: Sequence[Float[Tensor, "_ _ D"]], layouts: Sequence[Layout]) -> list[Tensor]:
        """The tokens of all stages; Linears run once, over the joined rows."""
        qkvs = joined(self.qkv, tokens)
        return joined(self.proj, [self._attended(qkv, layout) for qkv, layout in zip(qkvs, layouts, strict=True)])

    def _attended(self, qkv: Float[Tensor, "b T three_D"], layout: Layout) -> Float[Tensor, "b T D"]:
        q, k, v = by_head(qkv, self.heads)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if layout.rotary is not None:
            q, k = (rotate(each, layout.rotary, layout.m) for each in (q, k))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


@part("attention", "cross")
class CrossAttention(Attention):
    """Multi-head attention from the tokens to a context, such as a text's (PixArt-alpha, section 2.3).

    Rows of ``kv``: k, v, each heads x head_dim.

    Options:
        qk_norm: of queries and keys, each over the width of a head.
        bias: whether q, k and v have one.
        init: of the last Linear; with ``zero`` it adds nothing at first, which stands still behind a gate of zero.

    Raises:
        ValueError: dim is not divisible by heads.
    """

    needs = frozenset({"context"})

    def __init__(
        self,
        dim: int,
        heads: int,
        condition_dim: int | None = None,
        *,
        qk_norm: Part[Norm] | None = None,
        bias: bool = True,
        init: Literal["xavier", "zero"] = "xavier",
    ) -> None:
        super().__init__()
        head_dim = width_of_head(dim, heads)
        self.heads = heads
        self.q = Linear(dim, dim, bias=bias)
        self.kv = Linear(dim if condition_dim is None else condition_dim, 2 * dim, bias=bias)
        self.q_norm = None if qk_norm is None else qk_norm(head_dim)
        self.k_norm = None if qk_norm is None else qk_norm(head_dim)
        self.proj = Linear(dim, dim, init=init)

    def without_gradient(self) -> frozenset[str]:
        """What is added to all keys alike moves all scores of a query alike, which softmax does not see."""
        return frozenset({"k_norm.bias"}).intersection(name for name, _ in self.named_parameters())

    def forward_stage(self, tokens: Float[Tensor, "b T D"], layout: Layout) -> Float[Tensor, "b T D"]:
        """Every token sees that of the context which is there."""
        assert layout.context is not None, "it needs a context, and zoo builds it with one alone"
        (q,) = by_head(self.q(tokens), self.heads, 1)
        k, v = by_head(self.kv(layout.context), self.heads, 2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        mask = None if layout.context_mask is None else layout.context_mask[:, None, None]
        return self.proj(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))


def by_head(x: Float[Tensor, "b T columns"], heads: int, count: int = 3) -> tuple[Float[Tensor, "b heads T d"], ...]:
    """Split what one Linear returns into queries, keys and values, or other tensors, by head.

    Args:
        x: columns in the order (which of them, head, component).
        heads: of each.
        count: how many there are.
    """
    # Not by einops, which looks at every size: a quarter of what a trace of a backbone has to hold.
    columns: Tensor = x.unflatten(2, (count, heads, -1))  # type: ignore[no-untyped-call]
    return columns.permute(2, 0, 3, 1, 4).unbind()


def width_of_head(dim: int, heads: int) -> int:
    """Components of each head of tokens of width ``dim``.

    Raises:
        ValueError: dim is not divisible by heads.
    """
    if dim % heads:
        raise ValueError(f"dim {dim} is not divisible by heads {heads}")
    return dim // heads
