"""Built-in skips: what joins the tokens after an upsampler."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.parts.base import Skip
from zoo.parts.layers import Linear
from zoo.registry import part


@part("skip", "linear")
class LinearSkip(Skip, Linear):
    """The latents' own patches, through the patch embedder and a Linear, are added: MPDiT (section 3.2)."""

    feeds = "latents"

    def __init__(self, next_dim: int) -> None:
        Linear.__init__(self, next_dim, next_dim)

    def forward(  # type: ignore[override]
        self, image: Float[Tensor, "b N D"], other: Float[Tensor, "b N D"]
    ) -> Float[Tensor, "b N D"]:
        """The sum of both."""
        return image + Linear.forward(self, other)


@part("skip", "none")
class NoSkip(Skip):
    """Nothing joins."""

    feeds = "nothing"

    def forward(self, image: Float[Tensor, "b N D"], other: Float[Tensor, "b N K"]) -> Float[Tensor, "b N D"]:
        """The image tokens as they are."""
        return image


@part("skip", "kept_add")
class KeptAddSkip(Skip):
    """What left the finer patch on the way down is added.

    Raises:
        ValueError: it has another width.
    """

    feeds = "kept"

    def __init__(self, next_dim: int, kept_dim: int) -> None:
        super().__init__()
        if kept_dim != next_dim:
            raise ValueError(
                f"adds what was kept, of width {kept_dim}, to tokens of width {next_dim}; take kept_concat"
            )

    def forward(self, image: Float[Tensor, "b N D"], other: Float[Tensor, "b N D"]) -> Float[Tensor, "b N D"]:
        """The sum of both."""
        return image + other


@part("skip", "kept_concat")
class KeptConcatSkip(Skip):
    """What left the finer patch on the way down is set beside the tokens, and a Linear makes one of both: U-Net,
    U-ViT (section 3.1)."""

    feeds = "kept"

    def __init__(self, next_dim: int, kept_dim: int) -> None:
        super().__init__()
        self.proj = Linear(next_dim + kept_dim, next_dim)

    def forward(self, image: Float[Tensor, "b N D"], other: Float[Tensor, "b N K"]) -> Float[Tensor, "b N D"]:
        """A Linear of [image, other]."""
        return self.proj(torch.cat([image, other], dim=2))
