"""A block: tokens to tokens."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import GELUMLP, Block, Layout, SoftmaxAttention, Vectors, layer_norm, modulate


@zoo.part("block", "mine")
class MineBlock(Block):
    """Example: attention and MLP side by side, after one norm and behind one gate (ViT-22B, arXiv 2302.05442).

    Options:
        mlp_ratio: hidden width of the MLP over dim.

    Raises:
        ValueError: dim is not divisible by heads.
    """

    modulation_vectors = 3
    lends = (0, 1)  # shift and scale, by index, for heads that borrow them
    uses = frozenset({"rotary"})

    def __init__(self, dim: int, heads: int, *, mlp_ratio: Annotated[float, Field(ge=1.0, le=16.0)] = 4.0) -> None:
        super().__init__()
        self.attention = SoftmaxAttention(dim, heads)
        self.mlp = GELUMLP(dim, ratio=mlp_ratio)

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape."""
        shift, scale, gate = vectors
        x = modulate(layer_norm(tokens), shift, scale)
        return tokens + gate.unsqueeze(1) * (self.attention.forward_stage(x, layout) + self.mlp(x, layout))
