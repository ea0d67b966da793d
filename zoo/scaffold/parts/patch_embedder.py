"""A patch embedder: latents to tokens."""

from __future__ import annotations

from math import prod
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.parts import Grid, Linear, PatchEmbedder, patchify


@zoo.part("patch_embedder", "mine")
class MinePatchEmbedder(PatchEmbedder):
    """Example: each patch through a bottleneck of two Linears (Li and He, 2025, arXiv 2511.13720).

    Options:
        bottleneck: numbers that a patch is squeezed into.
    """

    def __init__(
        self, dim: int, channels: int, patch: Grid, *, bottleneck: Annotated[int, Field(ge=1, le=4096)] = 128
    ) -> None:
        super().__init__()
        self.patch = patch
        self.squeeze = Linear(channels * prod(patch), bottleneck, bias=False)
        self.widen = Linear(bottleneck, dim)

    def forward(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B N D"]:
        """Tokens, row by row."""
        return self.widen(self.squeeze(patchify(latents, self.patch)))
