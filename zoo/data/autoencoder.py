"""The VAE between pictures and latents: diffusers' AutoencoderKL, imported only when it is used."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from zoo.data.fingerprint import sha256_of
from zoo.data.pixels import to_latents, to_pixels
from zoo.errors import DataError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
LOGVAR_RANGE = (-30.0, 20.0)  # that diffusers' DiagonalGaussianDistribution clamps to


class Autoencoder:
    """A frozen float32 VAE.

    Attributes:
        source: its path or hub id.
        image_channels: 1 or 3.
        channels: of a latent.
        factor: image pixels per latent pixel, along each side.
        scaling_factor: as published with it; not applied here.
        shift_factor: likewise.
    """

    def __init__(self, source: str, device: torch.device | str = "cpu") -> None:
        self.source = source
        self._vae = _load(source).to(device).eval().requires_grad_(False)
        config = self._vae.config
        self.image_channels: int = config.in_channels
        if self.image_channels not in (1, 3):
            raise DataError(
                f"VAE {source!r}: encodes {self.image_channels} channels, and pictures have 1 or 3; take a VAE of such"
            )
        self.channels: int = config.latent_channels
        self.factor: int = 2 ** (len(config.block_out_channels) - 1)
        self.scaling_factor: float | None = config.scaling_factor
        self.shift_factor: float | None = config.shift_factor

    @torch.no_grad()
    def encode(self, pixels: UInt8[Tensor, "B height width channels"]) -> Float[Tensor, "B C2 H W"]:
        """Means and log-variances of pictures' posteriors, on the CPU; log-variances clamped to [-30, 20]."""
        images = to_latents(pixels.to(self._vae.device))
        mean, logvar = self._vae.encode(images).latent_dist.parameters.chunk(2, dim=1)
        return torch.cat([mean, logvar.clamp(*LOGVAR_RANGE)], dim=1).cpu().contiguous()

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """Pictures of unscaled latents."""
        # One at a time: results of a batch depend on its size, and a sample must not on who is beside it.
        latents = latents.to(self._vae.device, torch.float32)
        return torch.cat([to_pixels(self._vae.decode(each[None]).sample) for each in latents])

    def sha256(self) -> str:
        """Of the bytes of all weights, in the order of their names."""
        return sha256_of(self._vae.state_dict())


def _load(source: str) -> Any:
    try:
        from diffusers import AutoencoderKL
    except ImportError as error:
        raise DataError(
            f"VAE {source!r} needs the package diffusers ({error}); install it with: pip install 'diffusion-zoo[vae]'"
        ) from error
    loader: Any = AutoencoderKL
    path = Path(os.path.expanduser(source))
    if not path.exists() and not HUB_ID.fullmatch(source):
        raise DataError(f"VAE {source!r}: there is no such folder, and it is no hub id such as 'owner/name'")
    if (path / "vae" / "config.json").is_file():  # a whole pipeline
        path = path / "vae"
    try:
        vae, loaded = loader.from_pretrained(
            str(path) if path.exists() else source,
            torch_dtype=torch.float32,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # of diffusers, huggingface_hub, the network, safetensors, json
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"VAE {source!r}: cannot be loaded as diffusers' AutoencoderKL from safetensors: {reason}"
        ) from error
    if loaded["missing_keys"]:  # diffusers only warns, and leaves them as they were initialised
        missing = sorted(loaded["missing_keys"])
        raise DataError(f"VAE {source!r}: its file lacks {len(missing)} weights, such as {missing[0]}")
    return vae
