"""Built-in time embedders: the noise level as a vector."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from zoo.errors import OptionError
from zoo.parts.base import TimeEmbedder
from zoo.parts.layers import Linear
from zoo.registry import part

FREQUENCIES = 256
MAX_PERIOD = 10_000.0


@part("time_embedder", "sinusoidal")
class SinusoidalTimeEmbedder(TimeEmbedder):
    """256 sinusoids of the noise level through an MLP with SiLU: DiT and SiT.

    With i < 128 and f_i = 10000^(-i / 128), the features are [cos(t f), sin(t f)].

    Options:
        layers: Linears in the MLP (MPDiT, table 5).
        clock: ``noise`` embeds t itself, ``data`` embeds 1 - t, for weights trained with 0 = noise.
        scale: what the clock is multiplied by: 1000 makes a DDPM timestep k of DiT's out of t = k / 1000.
    """

    def __init__(
        self,
        dim: int,
        *,
        layers: Literal[1, 2, 3] = 2,
        clock: Literal["noise", "data"] = "noise",
        scale: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0,
    ) -> None:
        super().__init__()
        self.clock, self.scale = clock, scale
        widths = [FREQUENCIES] + [dim] * layers
        self.layers = nn.ModuleList(Linear(a, b, init="normal") for a, b in pairwise(widths))

    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Embed noise levels t in [0, 1]."""
        dtype = cast(Linear, self.layers[0]).weight.dtype
        x = sinusoids(t, FREQUENCIES, self.clock, self.scale).to(dtype)
        for index, layer in enumerate(self.layers):
            x = layer(F.silu(x) if index else x)
        return x


@part("time_embedder", "fourier")
class FourierTimeEmbedder(TimeEmbedder):
    """Sinusoids of the noise level, as many as the width, and nothing after them: U-ViT's time token.

    With i < D / 2 and f_i = 10000^(-2 i / D), the features are [cos(t f), sin(t f)]. It has no weights.

    Options:
        clock: ``noise`` embeds t itself, ``data`` embeds 1 - t.
        scale: what the clock is multiplied by.

    Raises:
        ValueError: dim is odd.
    """

    def __init__(
        self,
        dim: int,
        *,
        clock: Literal["noise", "data"] = "noise",
        scale: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim {dim} is odd: a cosine and a sine of every frequency; take an even one")
        self.dim, self.clock, self.scale = dim, clock, scale

    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Embed noise levels t in [0, 1]; in the dtype of t."""
        return sinusoids(t, self.dim, self.clock, self.scale).to(t.dtype)


@part("time_embedder", "fno")
class FNOTimeEmbedder(TimeEmbedder):
    """A Fourier neural operator on a small grid around the noise level (MPDiT, section 3.3 and algorithm 1).

    The signal ``linspace(-1, 1, grid) + t`` is lifted to ``width`` channels, goes through mixed spectral and pointwise
    convolutions with GELU between them, and is averaged over the grid. Runs in float32 or wider, also under autocast.

    Options:
        blocks: mixed spectral and pointwise convolutions.
        modes: lowest frequencies that the spectral convolutions mix; at most grid // 2 + 1.
        width: channels of the signal (the paper finds 128 unstable).
        grid: points of the signal.
    """

    def __init__(
        self,
        dim: int,
        *,
        blocks: Annotated[int, Field(ge=1, le=64)] = 3,
        modes: PositiveInt = 16,
        width: Annotated[int, Field(ge=1, le=4096)] = 32,
        grid: Annotated[int, Field(ge=2, le=4096)] = 32,
    ) -> None:
        super().__init__()
        if modes > grid // 2 + 1:
            problem = f"{modes} is more than the {grid // 2 + 1} frequencies of a grid of {grid} points; take no more"
            raise OptionError([(("modes",), problem)])
        self.grid, self.modes = grid, modes
        self.lift = Linear(1, width)
        self.blocks = nn.ModuleList(MixedFNO(width, modes) for _ in range(blocks))
        self.proj = Linear(width, dim)

    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Embed noise levels t in [0, 1]."""
        dtype = self.proj.weight.dtype
        wide = torch.promote_types(torch.promote_types(t.dtype, dtype), torch.float32)
        with _without_autocast(t.device.type):
            points = torch.linspace(-1, 1, self.grid, device=t.device, dtype=wide)
            x = _linear((points + t.to(wide).unsqueeze(1)).unsqueeze(2), self.lift)
            for index, block in enumerate(self.blocks):
                x = block(F.gelu(x) if index else x)
            return _linear(x.mean(dim=1), self.proj).to(dtype)

    def without_gradient(self) -> frozenset[str]:
        """The mean over the grid keeps frequency 0 of the last block alone, and imaginary parts of frequency 0 (and of
        the highest one of an even grid) drop out of a real signal everywhere."""
        blocks = range(len(self.blocks))
        complex_modes = min(self.modes, (self.grid + 1) // 2) - 1
        return frozenset(f"blocks.{index}.imag" for index in (blocks[-1:] if complex_modes else blocks))


class MixedFNO(nn.Module):
    """A spectral convolution plus a pointwise one, on a signal ``[B, G, width]`` (MPDiT, algorithm 2)."""

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.real = nn.Parameter(torch.empty(width, width, modes))
        self.imag = nn.Parameter(torch.empty(width, width, modes))
        self.pointwise = nn.Linear(width, width)  # starts as published: as PyTorch's convolutions do, its bias too
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the spectral weights anew: normal(0, 1) as in algorithm 2, without the usual 1 / width^2."""
        nn.init.normal_(self.real)
        nn.init.normal_(self.imag)

    def forward(self, x: Float[Tensor, "B G W"]) -> Float[Tensor, "B G W"]:
        """Mix the lowest frequencies, drop the rest, and add the pointwise convolution."""
        points = x.shape[1]
        spectrum = torch.fft.rfft(x, dim=1)[:, : self.modes]
        signal_real, signal_imag = spectrum.real, spectrum.imag
        weight_real, weight_imag = self.real.to(x.dtype), self.imag.to(x.dtype)
        real = _mix(signal_real, weight_real) - _mix(signal_imag, weight_imag)
        imag = _mix(signal_real, weight_imag) + _mix(signal_imag, weight_real)
        mixed = torch.fft.irfft(torch.complex(real, imag), n=points, dim=1)
        return mixed + _linear(x, self.pointwise)


def sinusoids(
    t: Float[Tensor, " B"], features: int, of: Literal["noise", "data"], scale: float
) -> Float[Tensor, "B F"]:
    """[cos(x f), sin(x f)] of F / 2 frequencies f from 1 down to nearly 1 / 10000, x the scaled t, or 1 - t of data."""
    half, wide = features // 2, t.to(torch.promote_types(t.dtype, torch.float32))
    clock = (1 - wide if of == "data" else wide) * scale
    steps = torch.arange(half, device=clock.device, dtype=clock.dtype)
    angles = clock.unsqueeze(1) * torch.exp(steps * (-math.log(MAX_PERIOD) / half))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _mix(signal: Float[Tensor, "B M I"], weight: Float[Tensor, "I O M"]) -> Float[Tensor, "B M O"]:
    return torch.einsum("bmi,iom->bmo", signal, weight)


def _linear(x: Float[Tensor, "*batch I"], layer: nn.Linear) -> Float[Tensor, "*batch O"]:
    """``layer(x)`` in the precision of x, which may be wider than the layer's own."""
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()
