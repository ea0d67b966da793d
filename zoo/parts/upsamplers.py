"""Built-in upsamplers: coarse tokens to fine ones (MPDiT, section 3.2 and table 7)."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from zoo.parts.base import Upsampler
from zoo.parts.grids import behind, ratio, shuffle
from zoo.parts.layers import Linear, layer_norm
from zoo.parts.mlps import GELUMLP
from zoo.registry import part
from zoo.schedule import Grid


class PixelShuffleUpsampler(Upsampler):
    """Expands each image token to as many finer ones, then refines the sequence; tokens in front keep their place.

    Row order of ``proj.weight``: (D, row, column) of the finer tokens.
    """

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__()
        self.factor = ratio(patch, next_patch)
        self.proj = self.make_projection(dim, next_dim)

    def make_projection(self, dim: int, next_dim: int) -> nn.Module:
        """The expansion ``[b, N, D] -> [b, N, D2 * f]``, f finer tokens of each."""
        return Linear(dim, next_dim * prod(self.factor))

    def forward(
        self, tokens: Float[Tensor, "b T D"], m: int, grid: Grid, kept: Float[Tensor, "b N2 K"] | None = None
    ) -> tuple[Float[Tensor, "b T2 D2"], Grid]:
        """Tokens on the finer grid, behind those in front; and that grid."""
        image = shuffle(self.proj(tokens[:, m:]), grid, self.factor)
        finer = tuple(side * factor for side, factor in zip(grid, self.factor, strict=True))
        return self.refine_tokens(tokens[:, :m], image), finer

    @abstractmethod
    def refine_tokens(self, prefix: Float[Tensor, "b m D"], image: Float[Tensor, "b N D2"]) -> Float[Tensor, "b T D2"]:
        """Join tokens in front, none where the width changes, and expanded image tokens."""


@part("upsampler", "linear")
class LinearUpsampler(PixelShuffleUpsampler):
    """Linear and pixel shuffle, nothing after."""

    def refine_tokens(self, prefix: Float[Tensor, "b m D"], image: Float[Tensor, "b N D2"]) -> Float[Tensor, "b T D2"]:
        """Join them as they are."""
        return behind(prefix, image)


class JointlyRefinedUpsampler(PixelShuffleUpsampler):
    """GELU on the image tokens, then LayerNorm and ``refine`` over all tokens together."""

    refine: nn.Module

    def refine_tokens(self, prefix: Float[Tensor, "b m D"], image: Float[Tensor, "b N D2"]) -> Float[Tensor, "b T D2"]:
        """Refine both together, so that they fit each other again."""
        return self.refine(layer_norm(behind(prefix, F.gelu(image, approximate="tanh"))))


@part("upsampler", "linear_linear")
class LinearLinearUpsampler(JointlyRefinedUpsampler):
    """Linear, pixel shuffle and GELU; then LayerNorm and a Linear over all tokens: MPDiT's default."""

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__(dim, next_dim, patch, next_patch)
        self.refine = Linear(next_dim, next_dim)


@part("upsampler", "linear_mlp")
class LinearMLPUpsampler(JointlyRefinedUpsampler):
    """As ``linear_linear``, with an MLP in place of the second Linear.

    Options:
        ratio: hidden width of the MLP over dim.
    """

    def __init__(
        self,
        dim: int,
        next_dim: int,
        patch: Grid,
        next_patch: Grid,
        *,
        ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0,
    ) -> None:
        super().__init__(dim, next_dim, patch, next_patch)
        self.refine = GELUMLP(next_dim, ratio=ratio)


@part("upsampler", "linear_conv")
class LinearConvUpsampler(PixelShuffleUpsampler):
    """As ``linear_linear``, with a 1x1 convolution over the image grid alone: tokens in front pass by.

    A 1x1 convolution is a Linear on each token, and is one here.
    """

    def __init__(self, dim: int, next_dim: int, patch: Grid, next_patch: Grid) -> None:
        super().__init__(dim, next_dim, patch, next_patch)
        self.refine = Linear(next_dim, next_dim)

    def refine_tokens(self, prefix: Float[Tensor, "b m D"], image: Float[Tensor, "b N D2"]) -> Float[Tensor, "b T D2"]:
        """Refine the image tokens."""
        return behind(prefix, self.refine(layer_norm(F.gelu(image, approximate="tanh"))))


@part("upsampler", "conv_transpose")
class ConvTransposeUpsampler(LinearUpsampler):
    """A transposed convolution whose kernel and stride are the ratio of the patches.

    Its windows do not overlap, so it is a Linear and a pixel shuffle whose bias is one vector [D] for all finer tokens.
    """

    def make_projection(self, dim: int, next_dim: int) -> nn.Module:
        """A Linear whose bias repeats for every finer token."""
        return _TiledBiasLinear(dim, next_dim, prod(self.factor))


class _TiledBiasLinear(nn.Module):
    def __init__(self, dim: int, next_dim: int, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.linear = Linear(dim, next_dim * copies, bias=False)
        self.bias = nn.Parameter(torch.empty(next_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the bias to zero."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "b N D"]) -> Float[Tensor, "B N DF"]:
        return self.linear(x) + self.bias.repeat_interleave(self.copies)
