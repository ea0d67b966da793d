"""Latents shown as pictures, by a VAE or without one."""

import pytest
import torch

from zoo.data.autoencoder import Autoencoder
from zoo.data.latents import Latents
from zoo.errors import DataError


def dataset(channels=4, **options):
    return Latents(channels, (8, 12), 3, folder="nowhere", **options)


def test_without_a_vae_three_channels_are_shown():
    images = dataset()
    latents = torch.randn(2, 4, 8, 12) * torch.tensor([1.0, 100.0]).view(2, 1, 1, 1) + 7
    pictures = images.to_images(latents)
    assert pictures.shape == (2, 8, 12, 3)
    assert pictures.dtype == torch.uint8
    for picture, latent in zip(pictures, latents, strict=True):
        for channel in range(3):
            seen, values = picture[..., channel].flatten(), latent[channel].flatten()
            assert (seen.min(), seen.max()) == (0, 255)
            assert seen[values.argmax()] == 255
            assert seen[values.argmin()] == 0
    assert images.to_images(torch.ones(1, 3, 2, 2, dtype=torch.bfloat16)).unique().tolist() == [0]
    assert images.to_images(torch.randn(1, 2, 3, 5)).shape == (1, 3, 5, 1)


def test_a_vae_decodes_where_the_data_is_not(vae):
    latents = torch.randn(2, 4, 8, 12)
    images = dataset(vae=str(vae))
    pictures = images.to_images(latents)
    assert pictures.shape == (2, 16, 24, 3)
    assert torch.equal(pictures, Autoencoder(str(vae)).decode(latents))
    assert torch.equal(images.to_images(latents), pictures)


def test_a_vae_for_other_latents(vae):
    with pytest.raises(DataError) as error:
        dataset(16, vae=str(vae)).to_images(torch.zeros(1, 16, 8, 12))
    told = "its latents have 4 channels, and backbone.latent.channels is 16; take the VAE of the latents"
    assert str(error.value) == f"VAE {str(vae)!r}: {told}"


def test_a_vae_that_is_not_there():
    images = dataset(vae="/nowhere")  # constructing reads nothing
    with pytest.raises(DataError, match="VAE '/nowhere': there is no such folder"):
        images.to_images(torch.zeros(1, 4, 8, 12))
