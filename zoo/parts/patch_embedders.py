"""Built-in patch embedders: latents to tokens."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from zoo.parts.base import PatchEmbedder
from zoo.parts.layers import Linear
from zoo.registry import part
from zoo.schedule import Grid


@part("patch_embedder", "linear")
class LinearPatchEmbedder(PatchEmbedder):
    """Each patch through one Linear, which is DiT's strided convolution.

    Column order of ``proj.weight``: (channel, row in patch, column in patch), a convolution's weight flattened.
    """

    def __init__(self, dim: int, channels: int, patch: Grid) -> None:
        super().__init__()
        self.patch = patch
        self.proj = Linear(channels * patch[0] * patch[1], dim)

    def forward(self, latents: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        """Tokens of the grid (H / ph, W / pw), row-major."""
        height, width = self.patch
        return self.proj(rearrange(latents, "b c (h p) (w q) -> b (h w) (c p q)", p=height, q=width))
