"""DiCo's block: a depthwise convolution whose channels are weighed by their means, and an FFN.

Letters in shapes: b samples of one stage, D width, N image tokens.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Block, Layout, Linear, Vectors, convolution, layer_norm, modulate
from zoo_conv.resamplers import on_map


class ChannelAttention(nn.Module):
    """Each channel times a number in (0, 1) that the means of all channels over the map give: DiCo's compact channel
    attention, one Linear without a bottleneck."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = Linear(dim, dim)

    def forward(self, tokens: Float[Tensor, "b N D"]) -> Float[Tensor, "b N D"]:
        """The same tokens, weighed."""
        return tokens * self.proj(tokens.mean(dim=1, keepdim=True)).sigmoid()


@zoo.part("block", "dico")
class DiCoBlock(Block):
    """A depthwise 3x3 convolution with channel attention, and an FFN, behind adaLN's gates: DiCo (Ai et al., 2025).

    The 1x1 convolutions are Linears on each token. Tokens in front have no place on the map and would say nothing to
    the image's; they are refused.

    Options:
        ratio: hidden width of the FFN over dim.
    """

    refuses = frozenset({"prefix", "subset"})
    lends = (3, 4)

    def __init__(self, dim: int, axes: int, *, ratio: Annotated[int, Field(ge=1, le=16)] = 2) -> None:
        super().__init__()
        self.conv1, self.conv2 = Linear(dim, dim), Linear(dim, dim)
        self.depthwise = convolution(dim, dim, (3,) * axes, groups=dim)
        self.attention = ChannelAttention(dim)
        self.fc1, self.fc2 = Linear(dim, ratio * dim), Linear(ratio * dim, dim)

    def forward_stage(
        self, tokens: Float[Tensor, "b N D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b N D"]
    ) -> Float[Tensor, "b N D"]:
        """Tokens of the same shape."""
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors
        h = self.conv1(modulate(layer_norm(tokens), shift1, scale1))
        h = self.attention(F.gelu(on_map(self.depthwise, h, layout.grid)))
        tokens = tokens + gate1.unsqueeze(1) * self.conv2(h)
        h = self.fc1(modulate(layer_norm(tokens), shift2, scale2))
        return tokens + gate2.unsqueeze(1) * self.fc2(F.gelu(h))
