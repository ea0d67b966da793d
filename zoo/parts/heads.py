"""Built-in heads: tokens to latents."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.parts.base import Head
from zoo.parts.convolutions import convolution
from zoo.parts.grids import to_map, to_tokens, unpatchify
from zoo.parts.layers import Linear, modulate
from zoo.parts.norms import LayerNorm, Norm
from zoo.parts.values import Vectors
from zoo.registry import part
from zoo.schedule import Grid
from zoo.signature import Part


class TokenHead(Head):
    """A head that makes the pixels of every token, which are put together.

    Args:
        patch: latent pixels per token, on each axis.
    """

    def __init__(self, patch: Grid) -> None:
        super().__init__()
        self.patch = patch

    @abstractmethod
    def pixels(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b N P"]:
        """Pixels of every token, ordered (row in patch, column in patch, channel)."""

    def forward(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b C *size"]:
        """The pixels of all tokens, in their places."""
        return unpatchify(self.pixels(tokens, vectors, grid), grid, self.patch)


class NormedHead(TokenHead):
    """A norm, modulated or not, before what makes the pixels of every token.

    Args:
        dim: width of the tokens.
        channels: of the latents.
        patch: latent pixels per token, on each axis.
        norm: of the tokens.
        modulated: whether the modulation shifts and scales them.
        learn_sigma: 2C output channels, the second half dropped.
    """

    def __init__(
        self, dim: int, channels: int, patch: Grid, *, norm: Part[Norm], modulated: bool, learn_sigma: bool
    ) -> None:
        super().__init__(patch)
        self.channels = channels
        self.modulation_vectors = 2 if modulated else 0
        self.outputs = (2 if learn_sigma else 1) * channels
        self.norm = norm(dim)

    def normed(self, tokens: Float[Tensor, "b N D"], vectors: Vectors) -> Float[Tensor, "b N D"]:
        """Normalised tokens, shifted and scaled where the modulation gives vectors."""
        tokens = self.norm(tokens)
        return modulate(tokens, *vectors) if vectors else tokens

    def forward(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b C *size"]:
        """The first C channels of the pixels of all tokens, in their places."""
        return super().forward(tokens, vectors, grid)[:, : self.channels]


@part("head", "linear")
class LinearHead(NormedHead):
    """Modulated LayerNorm and a Linear that starts at zero: DiT.

    Row order of ``proj.weight``: (row in patch, column in patch, channel).

    Options:
        norm: of the tokens.
        modulated: whether the modulation shifts and scales them.
        learn_sigma: 2C output channels, the second half dropped, as in the published DiT and SiT.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        patch: Grid,
        *,
        norm: Part[Norm] = LayerNorm,
        modulated: bool = True,
        learn_sigma: bool = False,
    ) -> None:
        super().__init__(dim, channels, patch, norm=norm, modulated=modulated, learn_sigma=learn_sigma)
        self.proj = Linear(dim, prod(patch) * self.outputs, init="zero")

    def pixels(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b N P"]:
        """Each token's from that token alone."""
        return self.proj(self.normed(tokens, vectors))


@part("head", "conv")
class ConvHead(NormedHead):
    """Modulated LayerNorm and a convolution over the grid that starts at zero: DiC, DiCo.

    Row order of ``proj.weight``: (row in patch, column in patch, channel).

    Options:
        reach: neighbours that a token sees on each side; 1 for 3x3.
        norm: of the tokens.
        modulated: whether the modulation shifts and scales them.
        learn_sigma: 2C output channels, the second half dropped.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        patch: Grid,
        *,
        reach: Annotated[int, Field(ge=0, le=7)] = 1,
        norm: Part[Norm] = LayerNorm,
        modulated: bool = True,
        learn_sigma: bool = False,
    ) -> None:
        super().__init__(dim, channels, patch, norm=norm, modulated=modulated, learn_sigma=learn_sigma)
        self.proj = convolution(dim, prod(patch) * self.outputs, (2 * reach + 1,) * len(patch), init="zero")

    def pixels(self, tokens: Float[Tensor, "b N D"], vectors: Vectors, grid: Grid) -> Float[Tensor, "b N P"]:
        """Each token's from its neighbours too."""
        return to_tokens(self.proj(to_map(self.normed(tokens, vectors), grid)))
