"""U-ViT's head.

Letters in shapes: b samples of one stage, C latent channels, D width, N image tokens, P pixels of a patch, those of
all channels.
"""

from __future__ import annotations

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

import zoo
from zoo.parts import Grid, Linear, TokenHead, Vectors

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@zoo.part("head", "uvit")
class UViTHead(TokenHead):
    """An affine norm, a Linear, and a 3x3 convolution over the pixels of all patches: U-ViT (Bao et al., 2023).

    Row order of ``proj.weight``: (row in patch, column in patch, channel).

    Options:
        conv: whether there is the convolution, which smooths what patches leave at their borders; the published H
            models on latents have none.
    """

    modulation_vectors = 0

    def __init__(self, dim: int, channels: int, patch: Grid, *, conv: bool = True) -> None:
        super().__init__(patch)
        self.norm = nn.LayerNorm(dim)
        self.proj = Linear(dim, prod(patch) * channels, init="normal")
        self.conv = CONVOLUTIONS[len(patch) - 1](channels, channels, 3, padding=1) if conv else None

    def pixels(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b N P"]:
        """Each token's from that token alone."""
        return self.proj(self.norm(tokens))

    def forward(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b C *size"]:
        """The pixels of all tokens in their places, each with its neighbours."""
        latents = super().forward(tokens, vectors, grid)
        return latents if self.conv is None else self.conv(latents)
