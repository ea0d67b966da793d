"""Published weights, imported, compute what the published code computed, and go back bit by bit."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import zoo
from zoo.assembly import load_recipe
from zoo.flow import GuidedVelocity, sample
from zoo.flow.guidance import ClassifierFreeGuidance
from zoo.flow.solvers import EulerSolver
from zoo.weights import from_published, read_checkpoint, read_weights, to_published, write_weights
from zoo.weights.published import dit, mpdit, ppflow
from zoo.weights.published.layout import Turn, convolution

GOLDEN = Path(__file__).parent / "golden"
FORMATS = {"sit": "sit", "ppflow2": "ppflow", "mpdit": "mpdit"}
PASSES = {"sit": ("",), "ppflow2": ("a_", "b_", "c_"), "mpdit": ("",)}
"""What the names of recorded inputs and outputs begin with."""

COMMON = {"latent": {"channels": 4, "height": 16, "width": 16}, "num_classes": 10, "dim": 32, "heads": 4}
SIT = {
    **COMMON,
    "depth": 3,
    "patch_schedule": {"type": "uniform", "patch": 2},
    "time_embedder": {"type": "sinusoidal", "clock": "data"},
    "head": {"type": "linear", "learn_sigma": True},
}
BACKBONES = {
    "sit": SIT,
    "ppflow2": {
        **SIT,
        "patch_schedule": {
            "type": "by_timestep",
            "stages": [{"noise_above": 0.5, "patch": 4}, {"noise_above": 0.0, "patch": 2}],
            "ties": "noisier",
        },
        "position": {"type": "sincos", "coordinates": "finest"},
        "stage_embedder": "learned",
    },
    "mpdit": {
        **COMMON,
        "depth": 5,
        "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 3}, {"patch": 2, "blocks": 2}]},
        "time_embedder": "fno",
        "class_conditioner": {"type": "class_tokens", "tokens": 4},
        "modulation": "shared_adaln",
        "upsampler": "linear_linear",
    },
}


def golden(name):
    """Weights by published key, and recorded inputs and outputs."""
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    return tuple(
        {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        for prefix in ("weights.", "io.")
    )


def constructor(name):
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        return json.loads(file.metadata()["config"])


def plain(path, weights):
    torch.save(weights, path)


def training(path, weights):
    last = {f"module._orig_mod.{key}": tensor + 1.0 for key, tensor in weights.items()}
    torch.save(
        {
            "model": last,
            "ema": {f"module.{key}": tensor for key, tensor in weights.items()},
            "opt": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]},
            "args": argparse.Namespace(model="S", image_size=256, results_dir="results"),
        },
        path,
    )


@pytest.fixture
def imported(registry, tmp_path):
    """The weight file and the backbone that a golden file's weights become."""

    def do(name, write=plain, inferred=False, **how):
        write(tmp_path / f"{name}.pt", golden(name)[0])
        recipe = None if inferred else load_recipe({"name": name, "backbone": BACKBONES[name]}, registry=registry)
        overrides = ["backbone.heads=4"] if inferred else []
        checkpoint = read_checkpoint(tmp_path / f"{name}.pt")
        how = {"format": FORMATS[name]} | how
        converted = from_published(checkpoint, recipe, registry, overrides=overrides, **how)
        path = tmp_path / f"{name}.safetensors"
        write_weights(path, converted.weights.tensors, converted.weights.recipe)
        return path, zoo.load(path, registry=registry)

    return do


def as_published(name, backbone, x, t, y):
    """An output in the published convention: of SiT and PPFlow 0 is noise, and the velocity data - noise."""
    with torch.no_grad():
        return backbone(x, t, y) if name == "mpdit" else -backbone(x, 1 - t, y)


def error(name, backbone):
    """How far outputs are from the recorded ones."""
    io = golden(name)[1]
    return max(
        float((as_published(name, backbone, io[f"{own}x"], io[f"{own}t"], io["y"]) - io[f"{own}output"]).abs().max())
        for own in PASSES[name]
    )


@pytest.mark.parametrize("inferred", [False, True], ids=["recipe", "inferred"])
@pytest.mark.parametrize("write", [plain, training])
@pytest.mark.parametrize("name", FORMATS)
def test_outputs_are_those_of_the_published_code(name, write, inferred, imported):
    assert error(name, imported(name, write, inferred, format=None)[1]) < 1e-5


def neighbours_of_a_fold(published="", own="", sizes=(), sign=1):
    """PPFlow's patches as 2x2 arrangements of whole 2x2 patches, in place of pixels in turn."""
    return Turn(published, own.replace("a r b s", "r a s b"), sizes, sign)


def columns_first(channels, patch):
    return Turn("d c a b", "d (c b a)", convolution(channels, patch).sizes)


BROKEN = {
    "clock": ("sit", dit.SiT, "time", {"sinusoidal": {"clock": "noise", "scale": 1.0}}),
    "sign": ("sit", dit.SiT, "head_sign", 1),
    "patch": ("sit", dit, "convolution", columns_first),
    "stages' sign": ("ppflow2", dit.SiT, "head_sign", 1),
    "folds": ("ppflow2", ppflow, "Turn", neighbours_of_a_fold),
    "levels' patches": ("mpdit", mpdit, "convolution", columns_first),
    "activation": ("mpdit", torch.nn.functional, "gelu", lambda x, approximate="none": x.relu()),
}


@pytest.mark.parametrize(("name", "owner", "attribute", "value"), BROKEN.values(), ids=list(BROKEN))
def test_an_import_that_takes_one_thing_otherwise_is_noticed(name, owner, attribute, value, imported, monkeypatch):
    monkeypatch.setattr(owner, attribute, value)
    assert error(name, imported(name)[1]) > 1e-3


@pytest.mark.parametrize("name", FORMATS)
def test_another_number_of_heads_is_noticed(name, imported, monkeypatch):
    monkeypatch.setitem(BACKBONES, name, BACKBONES[name] | {"heads": 2})
    assert error(name, imported(name)[1]) > 1e-3


@pytest.mark.parametrize("name", FORMATS)
def test_the_inferred_recipe_is_that_of_the_published_constructor(name, imported, registry):
    backbone = read_weights(imported(name, inferred=True)[0], registry).recipe.backbone
    expected = load_recipe({"name": name, "backbone": BACKBONES[name]}, registry=registry).backbone
    assert backbone.resolved() == expected.resolved()
    given = constructor(name)
    depths = [given[key] for key in ("depth", "depth_downsample", "depth_upsample") if key in given]
    assert (backbone.latent.channels, backbone.latent.height) == (given["in_channels"], given["input_size"])
    assert (backbone.dim, backbone.num_classes, backbone.depth) == (
        given["hidden_size"], given["num_classes"], sum(depths),
    )  # fmt: skip


def as_bits(tensor):
    return tensor.view(torch.uint8)


@pytest.mark.parametrize("inferred", [False, True], ids=["recipe", "inferred"])
@pytest.mark.parametrize("name", FORMATS)
def test_exported_again_every_bit_is_the_same(name, inferred, imported, registry):
    path, _ = imported(name, inferred=inferred)
    exported = to_published(read_weights(path, registry), FORMATS[name], registry)
    weights, _ = golden(name)
    assert exported.keys() == weights.keys()
    for key, tensor in weights.items():
        assert (exported[key].shape, exported[key].dtype) == (tensor.shape, tensor.dtype), key
        assert torch.equal(as_bits(exported[key]), as_bits(tensor)), key


# -- guidance and sampling --------------------------------------------------------------------------------------------

GUIDED = {
    "sit": ("sit", "cfg_x", "cfg_t", "cfg_output", (2.5,)),
    **{f"ppflow {own}": ("ppflow2", f"{own}_x", f"{own}_t", f"{own}_cfg_output", (1.5, 3.5)) for own in "abc"},
}


def guided(backbone, x, t, y, scales, channels=3):
    guidance = ClassifierFreeGuidance(len(backbone.stages), backbone.latent, scale=scales, channels=channels)
    velocity = GuidedVelocity(backbone, x, y, guidance)
    with torch.no_grad():
        return -velocity(x, 1 - t)


@pytest.mark.parametrize(("name", "x", "t", "output", "scales"), GUIDED.values(), ids=list(GUIDED))
def test_guidance_is_that_of_the_published_code(name, x, t, output, scales, imported):
    # It is given x and the labels doubled, and guides the first three channels of both halves.
    io = golden(name)[1]
    x, (t, *others), y = io[x][:3], io[t].tolist(), io["y"]
    assert set(others) == {t}
    backbone = imported(name)[1]
    conditional, unconditional = io[output].chunk(2)
    got = guided(backbone, x, t, y, scales)
    assert (got - conditional).abs().max() < 1e-5
    assert (got[:, :3] - unconditional[:, :3]).abs().max() < 1e-5
    without_label = as_published(name, backbone, x, torch.full((3,), t), torch.full_like(y, 10))
    assert (without_label[:, 3:] - unconditional[:, 3:]).abs().max() < 1e-5
    for other in (
        guided(backbone, x, t, y, scales, channels=None),
        guided(backbone, x, t, y, scales, channels=2),
        guided(backbone, x, t, y, tuple(scale + 0.1 for scale in scales)),
    ):
        assert (other - conditional).abs().max() > 1e-3


def test_the_stages_scales_are_not_mixed_up(imported):
    io, backbone = golden("ppflow2")[1], imported("ppflow2")[1]
    for own, t in (("a", 0.2), ("b", 0.6)):
        swapped = guided(backbone, io[f"{own}_x"], t, io["y"], (3.5, 1.5))
        assert (swapped - io[f"{own}_cfg_output"][:3]).abs().max() > 1e-3


def test_a_time_of_one_half_belongs_to_the_coarse_stage(imported):
    backbone = imported("ppflow2", inferred=True)[1]
    noise = 1 - torch.tensor([0.5, 0.5 + 2**-20])
    assert backbone.stage_of(noise).tolist() == [0, 1]


def test_five_updates_of_euler_end_where_the_published_sampler_ends(imported):
    io, backbone = golden("mpdit")[1], imported("mpdit")[1]

    def end(steps):
        return sample(backbone, EulerSolver(), io["euler_x1"], io["euler_y"], steps=steps, draw=torch.zeros)

    assert (end(5) - io["euler_output"]).abs().max() < 1e-5
    assert (end(6) - io["euler_output"]).abs().max() > 1e-3
