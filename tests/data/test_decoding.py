"""Latents are decoded some at a time, always as many: a picture is the same whatever the number that is asked for."""

from types import SimpleNamespace

import pytest
import torch

from zoo.data import autoencoder
from zoo.data.autoencoder import Autoencoder

SHAPE = (4, 4, 6)


class Sensitive(torch.nn.Module):
    """What a GPU does in the last bits, and more of it: a picture depends on how many are decoded beside it."""

    device = torch.device("cpu")
    config = SimpleNamespace(
        in_channels=3, latent_channels=4, block_out_channels=(4, 8), scaling_factor=1.0, shift_factor=0.0
    )

    def __init__(self):
        super().__init__()
        self.sizes = []

    def decode(self, latents):
        self.sizes.append(len(latents))
        shown = latents[:, :3].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return SimpleNamespace(sample=shown + 0.1 * len(latents) % 1)


@pytest.fixture
def sixteen(monkeypatch):
    """The CPU decodes as a GPU does."""
    monkeypatch.setattr(autoencoder, "TOGETHER", {"cpu": 16})


@pytest.fixture
def sensitive(sixteen, monkeypatch):
    monkeypatch.setattr(autoencoder, "_load", lambda source: Sensitive())
    return Autoencoder("sensitive")


def assert_pictures_do_not_depend_on_their_number(decoder):
    latents = torch.randn(40, *SHAPE).clamp(-0.9, 0.9)
    all_of_them = decoder.decode(latents)
    assert all_of_them.shape == (40, 8, 12, 3)
    for count in (1, 6, 16, 17, 39):
        assert torch.equal(decoder.decode(latents[:count]), all_of_them[:count]), f"{count} pictures are others"
    for first in (16, 32):  # as batches of a multiple of what is decoded at a time divide them
        assert torch.equal(decoder.decode(latents[first:]), all_of_them[first:]), f"those from {first} on are others"


def test_a_picture_does_not_depend_on_the_number_of_them(sensitive):
    assert_pictures_do_not_depend_on_their_number(sensitive)
    sizes = sensitive._vae.sizes
    assert set(sizes) == {16}
    assert len(sizes) == 3 + (1 + 1 + 1 + 2 + 3) + (2 + 1), "as many calls as need be"


def test_one_that_decodes_those_alone_that_are_left_is_caught(sensitive, monkeypatch):
    monkeypatch.setattr(sensitive, "_decode", lambda latents, together: sensitive._vae.decode(latents).sample)
    with pytest.raises(AssertionError, match="1 pictures are others"):
        assert_pictures_do_not_depend_on_their_number(sensitive)


@pytest.mark.usefixtures("sixteen")
def test_pictures_of_the_vae_do_not_depend_on_their_number(vae):
    assert_pictures_do_not_depend_on_their_number(Autoencoder(str(vae)))


@pytest.mark.usefixtures("sixteen")
def test_those_of_sixteen_at_a_time_are_those_of_one(vae, monkeypatch):
    latents = torch.randn(5, *SHAPE)
    sixteen = Autoencoder(str(vae)).decode(latents)
    monkeypatch.setattr(autoencoder, "TOGETHER", {})
    assert (Autoencoder(str(vae)).decode(latents).int() - sixteen.int()).abs().max() <= 1


def test_large_pictures_are_fewer_at_a_time(sensitive):
    assert [sensitive.together(*size) for size in ((4, 6), (128, 128), (128, 129), (256, 256), (1024, 512))] == [
        16, 16, 15, 4, 1
    ]  # fmt: skip


def test_a_cpu_decodes_one_at_a_time(monkeypatch):
    monkeypatch.setattr(autoencoder, "_load", lambda source: Sensitive())
    decoder = Autoencoder("sensitive")
    decoder.decode(torch.zeros(3, *SHAPE))
    assert decoder._vae.sizes == [1, 1, 1]
