"""Pictures, tiny VAEs, and what encodes one with the other."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

from tests.commands import done, zoo

ROOT = Path(__file__).parents[2]
SIZE = (16, 24)  # of all pictures that are encoded; not square
DrawPicture = Callable[..., Path]


@pytest.fixture(scope="session")
def draw() -> DrawPicture:
    """Write a picture of noise that its name determines."""

    def write(path: Path, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(path.name.encode("utf-8", "surrogateescape"), "little")
        shape = size if mode == "L" else (*size, len(mode))
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, draw: DrawPicture) -> Path:
    """Ten pictures of three classes."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(10):
        draw(folder / "cab"[index % 3] / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved AutoencoderKL with random weights: 3 -> 4 channels, a latent pixel is 2 x 2."""
    from diffusers import AutoencoderKL

    folder = tmp_path_factory.mktemp("vae")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(4, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
            shift_factor=0.5,
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved AutoencoderDC with random weights: 3 -> 8 channels, a latent pixel is 4 x 4."""
    from diffusers import AutoencoderDC

    folder = tmp_path_factory.mktemp("dc")
    stages = {"block_out_channels": (8, 16, 16), "layers_per_block": (1, 1, 1), "qkv_multiscales": ((), (), ())}
    options = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in stages.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderDC(latent_channels=8, attention_head_dim=4, scaling_factor=0.41, **options).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def extracted(tmp_path_factory: pytest.TempPathFactory, pictures: Path, vae: Path) -> Callable[..., Path]:
    """Latents of the pictures, in shards of four, float32 unless said otherwise; each made once and never changed."""
    made: dict[tuple[object, ...], Path] = {}

    def make(*options: object) -> Path:
        if options not in made:
            out = tmp_path_factory.mktemp("latents") / "out"
            cut = ("--size", "x".join(map(str, SIZE)), "--shard", 4, "--batch", 3, "--workers", 0)
            done("latents", pictures, "--vae", vae, "--out", out, *cut, "--dtype", "float32", *options)
            made[options] = out
        return made[options]

    return make


@pytest.fixture
def latents(extracted: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of the latents, to be damaged."""
    return shutil.copytree(extracted(), tmp_path / "latents")


@pytest.fixture
def run(pictures: Path, vae: Path) -> Callable[..., Result]:
    """Encode the pictures, in three shards, as a user does."""

    def given(out: Path, *options: object, images: Path | None = pictures) -> Result:
        own = {"--vae": vae, "--size": "16x24", "--shard": 4, "--batch": 3, "--workers": 0}
        words = [word for name, value in own.items() if name not in options for word in (name, value)]
        return zoo("latents", *filter(None, [images]), "--out", out, *words, *options)

    return given


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "out"
