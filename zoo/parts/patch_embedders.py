"""Built-in patch embedders: latents to tokens."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.parts.base import PatchEmbedder
from zoo.parts.convolutions import convolution
from zoo.parts.grids import patchify, to_tokens
from zoo.parts.layers import Linear
from zoo.registry import part
from zoo.schedule import Grid


@part("patch_embedder", "linear")
class LinearPatchEmbedder(PatchEmbedder):
    """Each patch through one Linear: DiT's strided convolution, whose windows do not overlap.

    Column order of ``proj.weight``: (channel, row in patch, column in patch), a convolution's weight flattened.
    """

    def __init__(self, dim: int, channels: int, patch: Grid) -> None:
        super().__init__()
        self.patch = patch
        self.proj = Linear(channels * prod(patch), dim)

    def forward(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B N D"]:
        """Tokens of the grid (H / ph, W / pw), row-major."""
        return self.proj(patchify(latents, self.patch))


@part("patch_embedder", "conv")
class ConvPatchEmbedder(PatchEmbedder):
    """A strided convolution whose windows overlap: each token sees pixels around its patch too (the 3x3 stem of DiC and
    DiCo, at a patch of 1).

    Options:
        overlap: pixels that are seen on each side of the patch.
        init: xavier-uniform of the convolution (DiC), or of its weights as the matrix of a Linear (``flat``, DiCo).
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        patch: Grid,
        *,
        overlap: Annotated[int, Field(ge=0, le=16)] = 1,
        init: Literal["xavier", "flat"] = "xavier",
    ) -> None:
        super().__init__()
        kernel = [pixels + 2 * overlap for pixels in patch]
        self.proj = convolution(channels, dim, kernel, stride=patch, padding=[overlap] * len(patch), init=init)

    def forward(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B N D"]:
        """Tokens of the grid (H / ph, W / pw), row-major."""
        return to_tokens(self.proj(latents))
