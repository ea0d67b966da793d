"""The VAE between pictures and latents: diffusers' AutoencoderKL or AutoencoderDC, imported only when it is used."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from zoo.data.fingerprint import sha256_of
from zoo.data.pixels import nearest_pixels, to_host, to_latents
from zoo.devices import products_in_float32, same_convolutions
from zoo.errors import DataError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
LOGVAR_RANGE = (-30.0, 20.0)  # that diffusers' DiagonalGaussianDistribution clamps to

KINDS = ("AutoencoderKL", "AutoencoderDC")
"""Of diffusers, as ``_class_name`` in ``config.json`` says."""

TOGETHER = {"cuda": 16}
"""Latents that a device decodes at a time at most; all others one, since a CPU takes as long for each of sixteen."""

PIXELS = 16 * 256 * 256
"""Of pictures that are decoded at a time at most, whose memory grows with them."""


class Autoencoder:
    """A frozen float32 VAE, or an autoencoder without a posterior (AutoencoderDC, as of SANA).

    Attributes:
        source: its path or hub id.
        image_channels: 1 or 3.
        channels: of a latent.
        factor: image pixels per latent pixel, along each side.
        has_variance: whether latents are drawn from a posterior.
        scaling_factor: as published with it; not applied here.
        shift_factor: likewise; None where there is none.
    """

    def __init__(self, source: str, device: torch.device | str = "cpu") -> None:
        self.source = source
        self._vae = _load(source).to(device).eval().requires_grad_(False)
        if self._vae.device.type == "cuda":  # whose convolutions turn tensors to channels last otherwise, each time
            self._vae.decoder.to(memory_format=torch.channels_last)
        config = self._vae.config
        self.image_channels: int = config.in_channels
        if self.image_channels not in (1, 3):
            raise DataError(
                f"VAE {source!r}: encodes {self.image_channels} channels, and pictures have 1 or 3; take a VAE of such"
            )
        self.channels: int = config.latent_channels
        self.has_variance = hasattr(config, "block_out_channels")  # AutoencoderKL's; AutoencoderDC has them by side
        blocks = config.block_out_channels if self.has_variance else config.encoder_block_out_channels
        self.factor: int = 2 ** (len(blocks) - 1)
        self.scaling_factor: float | None = config.scaling_factor
        self.shift_factor: float | None = getattr(config, "shift_factor", None)

    @torch.no_grad()
    def encode(self, pixels: UInt8[Tensor, "B height width channels"]) -> Float[Tensor, "B P H W"]:
        """Means and log-variances of pictures' posteriors, on the CPU; log-variances clamped to [-30, 20].

        Without a posterior the latents alone. A GPU's products are in TF32.
        """
        device = self._vae.device
        images = to_latents(pixels.to(device))
        with products_in_float32("tf32", device), same_convolutions(device):
            encoded = self._vae.encode(images)
        if not self.has_variance:
            return encoded.latent.cpu().contiguous()
        mean, logvar = encoded.latent_dist.parameters.chunk(2, dim=1)
        return torch.cat([mean, logvar.clamp(*LOGVAR_RANGE)], dim=1).cpu().contiguous()

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """Pictures of unscaled latents, on the CPU; each is a function of its latent and of its place.

        A GPU's products are in TF32, by which a pixel may come out a level or two of its 256 apart.
        """
        device, together = self._vae.device, self.together(*latents.shape[2:])
        latents = latents.to(device, torch.float32)
        with products_in_float32("tf32", device), same_convolutions(device):
            pictures = [nearest_pixels(self._decode(each, together)) for each in torch.split(latents, together)]
        return to_host(torch.cat(pictures))

    def together(self, height: int, width: int) -> int:
        """How many latents of [C, height, width] are decoded at a time, whatever the number that is asked for."""
        most = TOGETHER.get(self._vae.device.type, 1)
        return max(1, min(most, PIXELS // (height * width * self.factor**2)))

    def _decode(self, latents: Tensor, together: int) -> Tensor:
        # Results depend on the size of a batch in their last bits, and a sample must not on how many are beside it.
        padding = latents.new_zeros(together - len(latents), *latents.shape[1:])
        decoded: Tensor = self._vae.decode(torch.cat([latents, padding])).sample
        return decoded[: len(latents)]

    def sha256(self) -> str:
        """Of the bytes of all weights, in the order of their names."""
        return sha256_of(self._vae.state_dict())


def _load(source: str) -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise DataError(
            f"VAE {source!r} needs the package diffusers ({error}); install it with: pip install 'diffusion-zoo[vae]'"
        ) from error
    path = Path(os.path.expanduser(source))
    if not path.exists() and not HUB_ID.fullmatch(source):
        raise DataError(f"VAE {source!r}: there is no such folder, and it is no hub id such as 'owner/name'")
    if (path / "vae" / "config.json").is_file():  # a whole pipeline
        path = path / "vae"
    where = str(path) if path.exists() else source
    try:
        config: Any = diffusers.AutoencoderKL.load_config(where)
        kind = config.get("_class_name", KINDS[0])
        if kind not in KINDS:
            raise DataError(f"VAE {source!r}: is of diffusers' class {kind}; take one of {' or '.join(KINDS)}")
        vae, loaded = getattr(diffusers, kind).from_pretrained(
            where,
            torch_dtype=torch.float32,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except DataError:
        raise
    except Exception as error:  # of diffusers, huggingface_hub, the network, safetensors, json
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"VAE {source!r}: cannot be loaded as diffusers' {' or '.join(KINDS)} from safetensors: {reason}"
        ) from error
    if loaded["missing_keys"]:  # diffusers only warns, and leaves them as they were initialised
        missing = sorted(loaded["missing_keys"])
        raise DataError(f"VAE {source!r}: its file lacks {len(missing)} weights, such as {missing[0]}")
    return vae
