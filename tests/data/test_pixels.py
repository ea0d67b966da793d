"""Pixels to latents and back."""

import torch

from zoo.data.pixels import to_latents, to_pixels


def test_the_round_trip_keeps_all_pixels():
    pixels = torch.arange(2 * 3 * 4 * 32, dtype=torch.int64).remainder(256).to(torch.uint8).view(2, 4, 32, 3)
    latents = to_latents(pixels)
    assert latents.shape == (2, 3, 4, 32)
    assert latents.is_contiguous()
    assert (latents.min(), latents.max()) == (-1, 1)
    assert torch.equal(to_pixels(latents), pixels)
    assert torch.equal(to_pixels(latents.double()), pixels)


def test_what_is_outside_is_clamped_and_the_rest_rounded():
    latents = torch.tensor([-9.0, -1.0, 0.001, 0.999, 9.0]).view(1, 1, 1, 5)
    assert to_pixels(latents).flatten().tolist() == [0, 0, 128, 255, 255]
