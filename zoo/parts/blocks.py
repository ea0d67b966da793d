"""Built-in transformer blocks."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from zoo.parts.attentions import Attention, SoftmaxAttention
from zoo.parts.base import Block, BlockModulation, Layout
from zoo.parts.layers import modulate
from zoo.parts.mlps import GELUMLP, MLP
from zoo.parts.norms import LayerNorm, Norm
from zoo.registry import part
from zoo.signature import Part


@part("block", "dit")
class DiTBlock(Block):
    """Attention and MLP, each after a modulated norm and behind a gate: DiT (section 3.2).

    Options:
        attention: what the tokens see of each other.
        cross: what they see beside, between attention and MLP: added as it is, without a norm or a gate (PixArt-alpha,
            section 2.3); none if left out.
        mlp: what each goes through.
        norm: in front of attention and of the MLP.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        attention: Part[Attention] = SoftmaxAttention,
        cross: Part[Attention] | None = None,
        mlp: Part[MLP] = GELUMLP,
        norm: Part[Norm] = LayerNorm,
    ) -> None:
        super().__init__()
        self.norm1 = norm(dim)
        self.attention = attention(dim, heads)
        self.cross = None if cross is None else cross(dim, heads)
        self.norm2 = norm(dim)
        self.mlp = mlp(dim)

    def forward(
        self, tokens: Float[Tensor, "B T D"], modulation: BlockModulation, layout: Layout
    ) -> Float[Tensor, "B T D"]:
        """Tokens of the same shape."""
        attended = self.attention(modulate(self.norm1(tokens), modulation.attention), layout)
        tokens = tokens + modulation.attention_gate.unsqueeze(1) * attended
        if self.cross is not None:
            tokens = tokens + self.cross(tokens, layout)
        mixed = self.mlp(modulate(self.norm2(tokens), modulation.mlp), layout)
        return tokens + modulation.mlp_gate.unsqueeze(1) * mixed
