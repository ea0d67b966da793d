"""U-ViT's transformer block.

Letters in shapes: b samples of one stage, D width, T tokens, those in front and the image's.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

import zoo
from zoo.parts import Block, Layout, Linear, Place, Vectors, by_head, width_of_head


@zoo.part("block", "uvit")
class UViTBlock(Block):
    """Attention and MLP behind affine norms, steered by tokens alone, with long skips: U-ViT (Bao et al., 2023).

    Blocks of the second half of a run take the outputs of the first half, the last first, each through a Linear of
    its tokens and those that it takes. The block in the middle takes none, nor do both of an even number: the one
    before them is what they are given anyway.

    Options:
        mlp_ratio: hidden width of the MLP over dim.
        skips: a run is a ``level``, so that every level is a U of its own; or the whole ``depth``, for levels that go
            down and up again.

    Raises:
        ValueError: dim is not divisible by heads; or levels would have it take another block in one stage than in
            another.
    """

    modulation_vectors = 0

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        index: int,
        places: tuple[Place, ...],
        *,
        mlp_ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0,
        skips: Literal["level", "depth"] = "level",
    ) -> None:
        super().__init__()
        width_of_head(dim, heads)  # or it refuses
        self.heads = heads
        self.takes = _taken_in_levels(index, places) if skips == "level" else _taken(index, depth)
        self.skip = Linear(2 * dim, dim, init="normal") if self.takes else None
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = Linear(dim, 3 * dim, bias=False, init="normal")
        self.proj = Linear(dim, dim, init="normal")
        hidden = max(1, round(dim * mlp_ratio))
        self.fc1 = Linear(dim, hidden, init="normal")
        self.fc2 = Linear(hidden, dim, init="normal")

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        """Tokens of the same shape, in front and of the image alike."""
        if self.skip is not None:
            # Under autocast a Linear returns less than float32, and the residual stream is to stay as it is.
            tokens = self.skip(torch.cat([tokens, *taken], dim=2)).to(tokens.dtype)
        tokens = tokens + self._attended(self.norm1(tokens))
        return tokens + self.fc2(F.gelu(self.fc1(self.norm2(tokens))))

    def _attended(self, x: Float[Tensor, "b T D"]) -> Float[Tensor, "b T D"]:
        """Rows of ``qkv``: q, k, v, each heads x head_dim."""
        q, k, v = by_head(self.qkv(x), self.heads)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _taken(index: int, blocks: int, first: int = 0) -> tuple[int, ...]:
    """Of a run of so many blocks from the ``first`` on, the one whose output block ``index`` takes."""
    other = 2 * first + blocks - 1 - index
    return (other,) if other < index - 1 else ()


def _taken_in_levels(index: int, places: tuple[Place, ...]) -> tuple[int, ...]:
    """The same where a run is a level, of every stage.

    Raises:
        ValueError: stages differ in that.
    """
    found = dict.fromkeys(
        _taken(index, place.levels[place.level].blocks, first=index - place.block) for place in places
    )
    if len(found) > 1:
        stages = " and ".join(f"block {each[0]}'s output" if each else "none" for each in found)
        raise ValueError(
            f"long skips stay inside a level, and block {index} would take {stages}, in one stage and in another;"
            " give all stages levels of as many blocks"
        )
    return next(iter(found))
