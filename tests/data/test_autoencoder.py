"""The VAE: diffusers' own numbers, loaded only when used, and plain words where it cannot be."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.data.autoencoder import Autoencoder
from zoo.errors import DataError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def theirs(vae):
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(vae, low_cpu_mem_usage=False).eval()


@pytest.fixture
def copy(vae, tmp_path):
    return shutil.copytree(vae, tmp_path / "vae")


def message(source):
    with pytest.raises(DataError) as error:
        Autoencoder(str(source))
    return str(error.value)


def test_what_it_knows(vae):
    found = Autoencoder(str(vae))
    assert (found.image_channels, found.channels, found.factor) == (3, 4, 2)
    assert (found.scaling_factor, found.shift_factor, found.source) == (0.18215, 0.5, str(vae))


@torch.no_grad()
def test_moments_are_diffusers(vae, theirs):
    pixels = torch.randint(0, 256, (2, 8, 12, 3), dtype=torch.uint8)
    expected = theirs.encode(pixels.movedim(-1, 1) / 127.5 - 1).latent_dist
    mean, logvar = Autoencoder(str(vae)).encode(pixels).chunk(2, dim=1)
    torch.testing.assert_close(mean, expected.mean)
    torch.testing.assert_close(logvar, expected.logvar)


@torch.no_grad()
def test_latents_of_an_autoencoder_without_a_posterior_are_diffusers(dc):
    from diffusers import AutoencoderDC

    theirs = AutoencoderDC.from_pretrained(dc, low_cpu_mem_usage=False).eval()
    found = Autoencoder(str(dc))
    assert (found.channels, found.factor, found.has_variance) == (8, 4, False)
    assert (found.scaling_factor, found.shift_factor) == (0.41, None)
    pixels = torch.randint(0, 256, (2, 8, 12, 3), dtype=torch.uint8)
    latents = found.encode(pixels)
    torch.testing.assert_close(latents, theirs.encode(pixels.movedim(-1, 1) / 127.5 - 1).latent)
    expected = ((theirs.decode(latents).sample + 1) * 127.5).round().clamp(0, 255)
    assert (found.decode(latents).movedim(-1, 1) - expected).abs().max() <= 1


@torch.no_grad()
def test_log_variances_are_clamped(copy):
    weights = load_file(copy / WEIGHTS)
    weights["quant_conv.bias"][4:] += torch.tensor([1e3, -1e3, 0.0, 0.0])
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    moments = Autoencoder(str(copy)).encode(torch.zeros(1, 4, 4, 3, dtype=torch.uint8))
    assert (moments[:, 4] == 20).all()
    assert (moments[:, 5] == -30).all()


@torch.no_grad()
def test_pictures_are_diffusers_and_do_not_depend_on_the_batch(vae, theirs):
    latents = torch.randn(3, 4, 4, 6, dtype=torch.float64)
    pictures = Autoencoder(str(vae)).decode(latents)
    assert pictures.shape == (3, 8, 12, 3)
    assert pictures.dtype == torch.uint8
    expected = ((theirs.decode(latents.float()).sample + 1) * 127.5).round().clamp(0, 255)
    assert (pictures.movedim(-1, 1) - expected).abs().max() <= 1
    assert torch.equal(Autoencoder(str(vae)).decode(latents[1:2])[0], pictures[1])


def test_the_hash_is_of_the_weights(vae, copy):
    first = Autoencoder(str(vae)).sha256()
    assert first == Autoencoder(str(copy)).sha256()
    weights = load_file(copy / WEIGHTS)
    next(iter(weights.values()))[0] += 1
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    assert first != Autoencoder(str(copy)).sha256()


def test_the_vae_of_a_whole_pipeline(vae, tmp_path):
    shutil.copytree(vae, tmp_path / "pipeline" / "vae")
    assert Autoencoder(str(tmp_path / "pipeline")).sha256() == Autoencoder(str(vae)).sha256()


def test_diffusers_is_missing(vae, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    found = message(vae)
    assert found.startswith(f"VAE {str(vae)!r} needs the package diffusers (")
    assert found.endswith("); install it with: pip install 'diffusion-zoo[vae]'")


@pytest.mark.parametrize("source", ["/nowhere/vae", "./vae", "vae", "a/b/c", "~/no such folder", "~nobody", "a/\0"])
def test_no_such_folder(source):
    assert message(source) == f"VAE {source!r}: there is no such folder, and it is no hub id such as 'owner/name'"


def test_what_cannot_be_loaded(vae, copy, tmp_path):
    expected = "cannot be loaded as diffusers' AutoencoderKL or AutoencoderDC from safetensors: "
    (tmp_path / "empty").mkdir()
    assert message(tmp_path / "empty").startswith(f"VAE {str(tmp_path / 'empty')!r}: {expected}")
    content = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(content[:-100])
    assert message(copy).startswith(f"VAE {str(copy)!r}: {expected}")
    (copy / WEIGHTS).unlink()
    torch.save(load_file(vae / WEIGHTS), copy / "diffusion_pytorch_model.bin")  # whole, but a pickle
    assert message(copy).startswith(f"VAE {str(copy)!r}: {expected}")


def test_weights_that_are_missing(copy):
    weights = load_file(copy / WEIGHTS)
    del weights["quant_conv.bias"], weights["quant_conv.weight"]
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    assert message(copy) == f"VAE {str(copy)!r}: its file lacks 2 weights, such as quant_conv.bias"


def test_another_class_of_diffusers(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"_class_name": "VQModel"}))
    told = "is of diffusers' class VQModel; take one of AutoencoderKL or AutoencoderDC"
    assert message(copy) == f"VAE {str(copy)!r}: {told}"


def test_a_vae_of_something_else(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"in_channels": 5}))
    weights = load_file(copy / WEIGHTS)
    weights["encoder.conv_in.weight"] = torch.zeros(4, 5, 3, 3)
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    assert message(copy) == f"VAE {str(copy)!r}: encodes 5 channels, and pictures have 1 or 3; take a VAE of such"
