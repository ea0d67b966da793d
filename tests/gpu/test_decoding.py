"""Pictures that a VAE decodes on a GPU: those of the CPU, and the same whatever the number of them."""

import pytest
import torch

from zoo.data.autoencoder import Autoencoder


@pytest.fixture
def vae(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64),
        latent_channels=4,
    ).save_pretrained(tmp_path / "vae")
    return str(tmp_path / "vae")


def test_pictures_are_the_cpus_and_do_not_depend_on_their_number(vae):
    latents = torch.randn(20, 4, 16, 16)
    decoder = Autoencoder(vae, "cuda")
    pictures = decoder.decode(latents)
    assert pictures.is_pinned()
    assert (pictures.int() - Autoencoder(vae).decode(latents).int()).abs().max() <= 2  # of 256; products are in TF32
    for count in (1, 16, 17):
        assert torch.equal(decoder.decode(latents[:count]), pictures[:count])
    assert decoder.sha256() == Autoencoder(vae).sha256()
