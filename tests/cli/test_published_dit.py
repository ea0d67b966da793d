"""A DiT as its authors publish it: ``zoo import``, then ``zoo sample`` by DDIM, is what the papers' formulas give."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import zoo as package
from tests.commands import done, zoo
from zoo.randomness import Purpose
from zoo.sampling.latents import standard_normal

CHANNELS, SIDE, PATCH, WIDTH, HEADS, DEPTH, CLASSES = 4, 8, 2, 16, 2, 2, 5
GRID = SIDE // PATCH
STEPS, SEED = 10, 7

EXACT = '''
import torch
import zoo
from zoo.data import Dataset


@zoo.part("dataset", "exact")
class Exact(Dataset):
    """Pictures of the bytes of latents: PNG files lose none."""

    def __init__(self, channels: int, size: tuple[int, ...]):
        self.rows, self.columns = channels * size[0], 4 * size[1]

    def open(self, split="train"):
        raise NotImplementedError

    def to_images(self, latents):
        return latents.cpu().contiguous().view(torch.uint8).reshape(len(latents), self.rows, self.columns, 1)
'''


def published() -> dict[str, torch.Tensor]:
    """Random weights under DiT's names, with a learned variance."""
    linears = {
        "t_embedder.mlp.0": (WIDTH, 256),
        "t_embedder.mlp.2": (WIDTH, WIDTH),
        "final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH),
        "final_layer.linear": (PATCH * PATCH * 2 * CHANNELS, WIDTH),
        "x_embedder.proj": (WIDTH, CHANNELS, PATCH, PATCH),
    }
    for index in range(DEPTH):
        linears |= {
            f"blocks.{index}.attn.qkv": (3 * WIDTH, WIDTH),
            f"blocks.{index}.attn.proj": (WIDTH, WIDTH),
            f"blocks.{index}.mlp.fc1": (4 * WIDTH, WIDTH),
            f"blocks.{index}.mlp.fc2": (WIDTH, 4 * WIDTH),
            f"blocks.{index}.adaLN_modulation.1": (6 * WIDTH, WIDTH),
        }
    shapes = {f"{name}.weight": shape for name, shape in linears.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
    shapes |= {"pos_embed": (1, GRID * GRID, WIDTH), "y_embedder.embedding_table.weight": (CLASSES + 1, WIDTH)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


class PlainDiT:
    """DiT (arXiv 2212.09748, section 3.2) by its formulas, in float64."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = {name: tensor.double() for name, tensor in tensors.items()}

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def shares(self, name: str, condition: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
        return self.linear(f"{name}.adaLN_modulation.1", F.silu(condition))[:, None].chunk(count, dim=-1)

    def attention(self, name: str, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.linear(f"{name}.qkv", x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS)).softmax(dim=-1)
        return self.linear(f"{name}.proj", (weights @ v).transpose(1, 2).flatten(2))

    def noise(self, z: torch.Tensor, timestep: int, labels: torch.Tensor) -> torch.Tensor:
        """The first half of what it predicts: the noise; the other half is of the variance, which DDIM has not."""
        angles = timestep * 10_000 ** -(torch.arange(128, dtype=torch.float64) / 128)
        time = self.linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()])[None])
        condition = self.linear("t_embedder.mlp.2", F.silu(time))
        condition = condition + self.tensors["y_embedder.embedding_table.weight"][labels]
        kernel, bias = (self.tensors[f"x_embedder.proj.{each}"] for each in ("weight", "bias"))
        x = F.conv2d(z, kernel, bias, stride=PATCH).flatten(2).transpose(1, 2) + self.tensors["pos_embed"]
        for name in (f"blocks.{index}" for index in range(DEPTH)):
            shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.shares(name, condition, 6)
            x = x + gate * self.attention(f"{name}.attn", normed(x) * (1 + scale) + shift)
            hidden = self.linear(f"{name}.mlp.fc1", normed(x) * (1 + mlp_scale) + mlp_shift)
            x = x + mlp_gate * self.linear(f"{name}.mlp.fc2", F.gelu(hidden, approximate="tanh"))
        shift, scale = self.shares("final_layer", condition, 2)
        x = self.linear("final_layer.linear", normed(x) * (1 + scale) + shift)
        pixels = x.reshape(len(z), GRID, GRID, PATCH, PATCH, 2 * CHANNELS).permute(0, 5, 1, 3, 2, 4)
        return pixels.reshape(len(z), 2 * CHANNELS, SIDE, SIDE)[:, :CHANNELS]


class OneLate(PlainDiT):
    """Reads timestep k as k + 1, as if the first were 1: to be noticed."""

    def noise(self, z: torch.Tensor, timestep: int, labels: torch.Tensor) -> torch.Tensor:
        return super().noise(z, timestep + 1, labels)


def normed(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def ddim(network: PlainDiT, z: torch.Tensor, labels: torch.Tensor, guidance: float) -> torch.Tensor:
    """Equation 12 of DDIM (arXiv 2010.02502) with sigma = 0, on the 1000 linear betas of DDPM (arXiv 2006.11239).

    Guidance goes to three channels of four, as DiT's.
    """
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
    steps = range(1000 // STEPS - 1, 1000, 1000 // STEPS)
    for step, before in zip(reversed(steps), [*reversed(steps[:-1]), None], strict=True):
        noise = network.noise(z, step, labels)
        if guidance != 1.0:
            without = network.noise(z, step, torch.full_like(labels, CLASSES))
            noise[:, :3] = without[:, :3] + guidance * (noise - without)[:, :3]
        bar, next_bar = bars[step], torch.tensor(1.0) if before is None else bars[before]
        data = (z - (1 - bar).sqrt() * noise) / bar.sqrt()
        z = next_bar.sqrt() * data + (1 - next_bar).sqrt() * noise
    return z


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``dit.safetensors``, imported from a training checkpoint whose name alone tells DiT from SiT."""
    folder = tmp_path_factory.mktemp("dit")
    torch.save({"ema": published(), "model": {}}, folder / "DiT-tiny.pt")
    (folder / "exact.py").write_text(EXACT)
    result = zoo(
        "import", folder / "DiT-tiny.pt", "--set", f"backbone.heads={HEADS}", "--out", folder / "dit.safetensors"
    )
    assert result.exit_code == 0, result.stderr
    return folder


def drawn(folder: Path, out: Path, *words: object) -> torch.Tensor:
    """The latents that ``zoo sample`` shows, exact to the last bit."""
    data = ("--set", "data.dataset=exact", "--set", "data.normalize=none", "--parts", folder / "exact.py")
    done("sample", "--run", folder / "dit.safetensors", "--out", out, *data, *words)
    found = [np.asarray(Image.open(path)).view(np.float32) for path in sorted(out.glob("0*.png"))]
    return torch.from_numpy(np.stack(found)).reshape(-1, CHANNELS, SIDE, SIDE)


def test_the_import_tells_path_prediction_and_clock(imported):
    recipe = package.load_recipe(imported / "dit.yaml")
    assert recipe.objective.path.type == "vp"
    assert recipe.backbone.prediction == "noise"
    assert recipe.backbone.head.resolved()["learn_sigma"] is True
    assert recipe.backbone.time_embedder.resolved()["scale"] == 1000.0


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_an_imported_dit_is_sampled_as_the_papers_formulas_say(guidance, imported, tmp_path):
    found = drawn(
        imported, tmp_path / "out", "--solver", "ddim", "--steps", STEPS, "--guidance", guidance, "--seed", SEED,
        "--labels", "1,0,4",
    )  # fmt: skip
    noise = standard_normal((CHANNELS, SIDE, SIDE), SEED, Purpose.SAMPLE, 0, range(3)).double()

    def expected(network: PlainDiT, guidance: float) -> torch.Tensor:
        return ddim(network, noise, torch.tensor([1, 0, 4]), guidance)

    right = expected(PlainDiT(published()), guidance)
    # Of random weights at timestep 999, data are 1 / 0.0064 times as large as what they are made of, as rounding is.
    tolerance = 1e-5 * right.abs().max()
    assert (found - right).abs().max() < tolerance
    for other in (expected(PlainDiT(published()), guidance + 0.1), expected(OneLate(published()), guidance)):
        assert (found - other).abs().max() > 10 * tolerance
