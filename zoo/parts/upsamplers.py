"""Built-in upsamplers: coarse tokens to fine ones (MPDiT, section 3.2 and table 7)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from zoo.parts.base import Upsampler
from zoo.parts.layers import Linear, layer_norm
from zoo.parts.mlps import GELUMLP
from zoo.registry import part
from zoo.schedule import Grid


class PixelShuffleUpsampler(Upsampler):
    """Expands each image token to fh x fw finer ones, then refines the sequence; class tokens keep their place.

    Row order of ``proj.weight``: (D, row, column) of the finer tokens.
    """

    def __init__(self, dim: int, coarse_patch: Grid, fine_patch: Grid) -> None:
        super().__init__()
        self.factor = (coarse_patch[0] // fine_patch[0], coarse_patch[1] // fine_patch[1])
        self.proj = self.make_projection(dim)

    def make_projection(self, dim: int) -> nn.Module:
        """The expansion ``[B, N, D] -> [B, N, D * fh * fw]``."""
        return Linear(dim, dim * self.factor[0] * self.factor[1])

    def forward(self, tokens: Float[Tensor, "B T D"], m: int, grid: Grid) -> tuple[Float[Tensor, "B T2 D"], Grid]:
        """Tokens on the finer grid, behind the same class tokens; and that grid."""
        (rows, columns), (fh, fw) = grid, self.factor
        image = rearrange(self.proj(tokens[:, m:]), "b (h w) (d p q) -> b (h p w q) d", h=rows, w=columns, p=fh, q=fw)
        return self.refine_tokens(tokens[:, :m], image), (rows * fh, columns * fw)

    @abstractmethod
    def refine_tokens(self, prefix: Float[Tensor, "B m D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        """Join class tokens and expanded image tokens."""


@part("upsampler", "linear")
class LinearUpsampler(PixelShuffleUpsampler):
    """Linear and pixel shuffle, nothing after."""

    def refine_tokens(self, prefix: Float[Tensor, "B m D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        """Join them as they are."""
        return torch.cat([prefix, image], dim=1)


class JointlyRefinedUpsampler(PixelShuffleUpsampler):
    """GELU on the image tokens, then LayerNorm and ``refine`` over class and image tokens together."""

    refine: nn.Module

    def refine_tokens(self, prefix: Float[Tensor, "B m D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        """Refine both together, so that they fit each other again."""
        return self.refine(layer_norm(torch.cat([prefix, F.gelu(image, approximate="tanh")], dim=1)))


@part("upsampler", "linear_linear")
class LinearLinearUpsampler(JointlyRefinedUpsampler):
    """Linear, pixel shuffle and GELU; then LayerNorm and a Linear over class and image tokens: MPDiT's default."""

    def __init__(self, dim: int, coarse_patch: Grid, fine_patch: Grid) -> None:
        super().__init__(dim, coarse_patch, fine_patch)
        self.refine = Linear(dim, dim)


@part("upsampler", "linear_mlp")
class LinearMLPUpsampler(JointlyRefinedUpsampler):
    """As ``linear_linear``, with an MLP in place of the second Linear.

    Options:
        ratio: hidden width of the MLP over dim.
    """

    def __init__(
        self,
        dim: int,
        coarse_patch: Grid,
        fine_patch: Grid,
        *,
        ratio: Annotated[float, Field(gt=0.0, le=64.0)] = 4.0,
    ) -> None:
        super().__init__(dim, coarse_patch, fine_patch)
        self.refine = GELUMLP(dim, ratio=ratio)


@part("upsampler", "linear_conv")
class LinearConvUpsampler(PixelShuffleUpsampler):
    """As ``linear_linear``, with a 1x1 convolution over the image grid alone: class tokens pass by.

    A 1x1 convolution is a Linear on each token, and is one here.
    """

    def __init__(self, dim: int, coarse_patch: Grid, fine_patch: Grid) -> None:
        super().__init__(dim, coarse_patch, fine_patch)
        self.refine = Linear(dim, dim)

    def refine_tokens(self, prefix: Float[Tensor, "B m D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        """Refine the image tokens."""
        return torch.cat([prefix, self.refine(layer_norm(F.gelu(image, approximate="tanh")))], dim=1)


@part("upsampler", "conv_transpose")
class ConvTransposeUpsampler(LinearUpsampler):
    """A transposed convolution whose kernel and stride are the ratio of the patches.

    Its windows do not overlap, so it is a Linear and a pixel shuffle whose bias is one vector [D] for all finer tokens.
    """

    def make_projection(self, dim: int) -> nn.Module:
        """A Linear whose bias repeats for every finer token."""
        return _TiledBiasLinear(dim, self.factor[0] * self.factor[1])


class _TiledBiasLinear(nn.Module):
    def __init__(self, dim: int, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.linear = Linear(dim, dim * copies, bias=False)
        self.bias = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the bias to zero."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N DF"]:
        return self.linear(x) + self.bias.repeat_interleave(self.copies)
