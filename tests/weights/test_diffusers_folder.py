"""The folder for diffusers: its model computes what the backbone does; or every reason why it cannot."""

import json

import pytest
import torch

from tests.weights.layouts import FORMATS, REGISTRY
from tests.weights.small import BY_DEPTH, HOURGLASS, LEVELS_DOWN, SCALED, inputs, of_axes, random_weights, small
from zoo.assembly import build
from zoo.errors import WeightsError
from zoo.weights import Weights, diffusers_folder, filled, to_published
from zoo.weights.diffusers_folder import write_diffusers

LATENT = {"channels": 3, "height": 16, "width": 16}
CLOCK = {"type": "sinusoidal", "clock": "data"}


def model(folder):
    from diffusers import DiTTransformer2DModel

    return DiTTransformer2DModel.from_pretrained(folder, low_cpu_mem_usage=False).eval()


def largest_difference(recipe, registry, folder):
    weights = random_weights(recipe, registry)
    write_diffusers(folder, weights, registry)
    latents, labels = inputs(recipe, batch=6)
    t = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.9, 1.0])
    with torch.no_grad():
        ours = filled(weights, torch.device("cpu"))(latents, t, labels)
        scale = recipe.backbone.time_embedder.resolved()["scale"]
        theirs = model(folder)(latents, timestep=t * scale, class_labels=labels).sample[:, : latents.shape[1]]
    assert ours.abs().mean() > 0.1
    return float((ours - theirs).abs().max())


@pytest.mark.parametrize("clock", ["noise", "data"])
@pytest.mark.parametrize("learn_sigma", [False, True])
@pytest.mark.parametrize("patch", [2, 4])
def test_diffusers_computes_the_same(registry, tmp_path, clock, learn_sigma, patch):
    recipe = small(
        registry,
        schedule={"type": "uniform", "patch": patch},
        latent=LATENT,
        time_embedder={"type": "sinusoidal", "clock": clock},
        head={"type": "linear", "learn_sigma": learn_sigma},
    )
    assert largest_difference(recipe, registry, tmp_path / "out") < 1e-5


def test_a_clock_of_another_scale_is_fed_scaled(registry, tmp_path):
    recipe = small(registry, latent=LATENT, time_embedder={"type": "sinusoidal", "scale": 2.0})
    assert largest_difference(recipe, registry, tmp_path / "out") < 1e-5


def test_diffusers_own_frequencies_without_ours_made_of_them_would_be_noticed(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(diffusers_folder, "_interpolation", lambda: torch.eye(128, dtype=torch.float64))
    monkeypatch.setattr(diffusers_folder, "EXACT", 1.0)
    recipe = small(registry, latent=LATENT)
    assert largest_difference(recipe, registry, tmp_path / "out") > 1e-4


def test_the_folder_says_what_it_is(registry, tmp_path):
    write_diffusers(tmp_path / "out", random_weights(small(registry, latent=LATENT), registry), registry)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["_class_name"] == "DiTTransformer2DModel"
    assert (config["num_attention_heads"], config["attention_head_dim"], config["num_layers"]) == (2, 8, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "plain").touch()
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "out/diffusion_pytorch_model.safetensors")}
    assert len(modes) == 1


def test_it_is_written_on_the_cpu_whatever_the_default_is(registry, tmp_path):
    weights = random_weights(small(registry, latent=LATENT, time_embedder=CLOCK), registry)
    write_diffusers(tmp_path / "one", weights, registry)
    with torch.device("meta"):
        write_diffusers(tmp_path / "other", weights, registry)
    name = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize(
    ("parts", "problems"),
    [
        ({"schedule": BY_DEPTH}, ["backbone.patch_schedule: it has one patch for all blocks and noise levels"]),
        (
            {"schedule": {"type": "uniform", "patch": [2, 4]}},
            ["backbone.patch_schedule: its patches are square, the recipe's 2x4"],
        ),
        (
            {"latent": {"channels": 3, "height": 16, "width": 32}},
            ["backbone.latent: its latents are square, the recipe's 16 x 32"],
        ),
        (
            {"block": {"type": "dit", "mlp": {"ratio": 2.0}, "attention": {"qk_norm": "rms"}}},
            [
                "backbone.block.attention.qk_norm: it has none, the recipe rms",
                "backbone.block.mlp.ratio: it has 4.0, the recipe 2.0",
            ],
        ),
        (
            {"time_embedder": {"type": "sinusoidal", "layers": 3}},
            ["backbone.time_embedder.layers: it has 2, the recipe 3"],
        ),
        (
            {"time_embedder": {"type": "sinusoidal", "scale": 1000.0}, "prediction": "noise"},
            [
                "backbone.time_embedder.scale: its sinusoids have the frequencies 10000^(-i / 127), ours and DiT's"
                " 10000^(-i / 128); weights can make up for that where the clock runs from 0 to 1, but from 0 to 1000"
                " features are off by 2"
            ],
        ),
        (
            {
                "time_embedder": "fno",
                "class_conditioner": "class_tokens",
                "modulation": "shared_adaln",
                "stage_embedder": "learned",
                "position": "none",
            },
            [
                "backbone.position: it has sincos, the recipe none",
                "backbone.time_embedder: it has sinusoidal, the recipe fno",
                "backbone.class_conditioner: it has embedding, the recipe class_tokens",
                "backbone.modulation: it has adaln_zero, the recipe shared_adaln",
                "backbone.stage_embedder: it has none, the recipe learned",
            ],
        ),
    ],
)
def test_what_its_architecture_cannot_express(registry, tmp_path, parts, problems):
    recipe = small(registry, **{"latent": LATENT, **parts})
    with pytest.raises(WeightsError, match="small: DiTTransformer2DModel cannot express it") as caught:
        write_diffusers(tmp_path / "out", random_weights(recipe, registry), registry)
    assert list(caught.value.problems) == problems
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "told"), [((16,), "16"), ((16, 16, 16), "16 x 16 x 16")])
def test_other_axes_than_height_and_width(registry, size, told):
    recipe = small(registry, latent=LATENT)
    problems = diffusers_folder._misfits(of_axes(recipe, *size), build(recipe, device="meta"))
    assert list(problems) == [f"backbone.latent: its latents are square, the recipe's {told}"]


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (HOURGLASS, "one width, and one number of heads; the recipe has a level of width 32 with 4 heads"),
        (LEVELS_DOWN, "go to finer patches alone, the recipe from 2x2 to 4x4"),
        (SCALED, "latents of one size, the recipe a stage of scale 2x2"),
    ],
)
def test_schedules_of_no_published_weights(registry, tmp_path, schedule, told):
    weights = random_weights(small(registry, latent=LATENT, schedule=schedule), registry)
    (problem,) = refusal(lambda: write_diffusers(tmp_path / "out", weights, registry))
    assert problem.startswith("backbone.patch_schedule: published weights ")
    assert problem.endswith(told)
    for name in FORMATS:
        assert problem in refusal(lambda name=name: to_published(weights, name, REGISTRY))


def refusal(write):
    with pytest.raises(WeightsError) as caught:
        write()
    return caught.value.problems


def test_a_table_of_other_numbers(registry, tmp_path):
    weights = random_weights(small(registry, latent=LATENT), registry)
    weights.tensors["positions.2x2.table"].add_(0.1)
    with pytest.raises(WeightsError) as caught:
        write_diffusers(tmp_path / "out", weights, registry)
    (problem,) = caught.value.problems
    assert problem == "backbone.position: positions.2x2.table is not the sin-cos table that it computes"


def test_a_disk_that_fills_up_leaves_nothing(registry, tmp_path, monkeypatch):
    def full(*_):
        yield b"half"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.tensor_bytes.pieces", full)
    with pytest.raises(WeightsError, match=r"out: cannot be written: .*No space left on device"):
        write_diffusers(tmp_path / "out", random_weights(small(registry, latent=LATENT), registry), registry)
    assert not list(tmp_path.iterdir())


def test_weights_are_not_changed_by_writing_them(registry, tmp_path):
    weights = random_weights(small(registry, latent=LATENT), registry)
    before = {name: tensor.clone() for name, tensor in weights.tensors.items()}
    write_diffusers(tmp_path / "out", Weights(weights.recipe, weights.tensors, {}), registry)
    assert all(torch.equal(before[name], weights.tensors[name]) for name in before)
