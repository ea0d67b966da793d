"""Built-in transformer blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from zoo.parts.attentions import Attention, SoftmaxAttention
from zoo.parts.base import Block
from zoo.parts.layers import joined, modulate
from zoo.parts.mlps import GELUMLP, MLP
from zoo.parts.norms import LayerNorm, Norm
from zoo.parts.values import Group, Layout, Vectors
from zoo.registry import part
from zoo.signature import Part


class Half(NamedTuple):
    """What steers attention, or the MLP: [b, D] each."""

    shift: Float[Tensor, "b D"] | None
    scale: Float[Tensor, "b D"]
    gate: Float[Tensor, "b D"]


@part("block", "dit")
class DiTBlock(Block):
    """Attention and MLP, each after a modulated norm and behind a gate: DiT (section 3.2).

    Options:
        attention: what the tokens see of each other.
        cross: what they see beside, between attention and MLP: added as it is, without a norm or a gate (PixArt-alpha,
            section 2.3); none if left out.
        mlp: what each goes through.
        norm: in front of attention and of the MLP.
        shift: whether both are shifted too; four vectors of the modulation in place of six if not.
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
        shift: bool = True,
    ) -> None:
        super().__init__()
        self.shift, self.modulation_vectors, self.lends = shift, 6 if shift else 4, (3, 4) if shift else None
        self.norm1 = norm(dim)
        self.attention = attention(dim, heads)
        self.cross = None if cross is None else cross(dim, heads)
        self.norm2 = norm(dim)
        self.mlp = mlp(dim)

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape."""
        return DiTBlock.forward(self, [Group(tokens, vectors, layout)])[0]

    def forward(self, groups: Sequence[Group]) -> list[Tensor]:
        """Tokens of the same shapes; Linears run once, over the joined rows of all groups."""
        layouts, tokens = [group.layout for group in groups], [group.tokens for group in groups]
        first, second = zip(*(self._halves(group.vectors) for group in groups), strict=True)
        attended = self.attention(_steered(tokens, self.norm1, first), layouts)
        tokens = _gated(tokens, attended, first)
        if self.cross is not None:
            tokens = [x + more for x, more in zip(tokens, self.cross(tokens, layouts), strict=True)]
        mixed = self._mixed(_steered(tokens, self.norm2, second), layouts)
        return _gated(tokens, mixed, second)

    def _halves(self, vectors: Vectors) -> tuple[Half, Half]:
        if self.shift:
            return Half(*vectors[:3]), Half(*vectors[3:])
        return Half(None, *vectors[:2]), Half(None, *vectors[2:])

    def _mixed(self, inputs: Sequence[Tensor], layouts: Sequence[Layout]) -> list[Tensor]:
        if self.mlp.per_token:
            return joined(lambda rows: self.mlp(rows, layouts[0]), inputs)
        return [self.mlp(x, layout) for x, layout in zip(inputs, layouts, strict=True)]


def _steered(tokens: Sequence[Tensor], norm: nn.Module, halves: Sequence[Half]) -> list[Tensor]:
    return [modulate(norm(x), own.shift, own.scale) for x, own in zip(tokens, halves, strict=True)]


def _gated(tokens: Sequence[Tensor], more: Sequence[Tensor], halves: Sequence[Half]) -> list[Tensor]:
    return [x + own.gate.unsqueeze(1) * added for x, added, own in zip(tokens, more, halves, strict=True)]
