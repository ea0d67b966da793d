"""Between 8-bit pixels, channels last, and latents in [-1, 1], channels first."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_latents(pixels: UInt8[Tensor, "B H W C"]) -> Float[Tensor, "B C H W"]:
    """Pixels 0..255 as float32 in [-1, 1]."""
    return pixels.movedim(-1, 1).to(torch.float32, memory_format=torch.contiguous_format) / 127.5 - 1


def to_pixels(latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B H W C"]:
    """Latents in [-1, 1] as the nearest pixels 0..255, on the CPU; what is outside is clamped."""
    return to_host(nearest_pixels(latents))


def nearest_pixels(latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B H W C"]:
    """The same on the latents' device, whatever that is: from there, a fourth of the bytes are to be copied."""
    scaled = (latents.detach().to(torch.float32) + 1) * 127.5
    return scaled.round().clamp(0, 255).to(torch.uint8).movedim(1, -1).contiguous()


def to_host(pixels: UInt8[Tensor, "B H W C"]) -> UInt8[Tensor, "B H W C"]:
    """Pixels on the CPU; a GPU's are copied into page-locked memory, which it writes by itself."""
    if not pixels.is_cuda:
        return pixels.cpu()
    return torch.empty(pixels.shape, dtype=pixels.dtype, device="cpu", pin_memory=True).copy_(pixels)
