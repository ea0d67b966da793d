"""Recipes that published formats can hold, drawn at random and by example; random weights in their layouts."""

import argparse
import tempfile
from pathlib import Path

import torch
from hypothesis import strategies as st
from safetensors.torch import save_file

from zoo.assembly import build, load_recipe
from zoo.registry import Registry
from zoo.weights import Weights, from_published, read_checkpoint, to_published
from zoo.weights.foreign import ForeignCheckpoint
from zoo.weights.published.base import as_given

REGISTRY = Registry()
FORMATS = {name: entry.format for name, entry in REGISTRY.formats.items()}

# -- recipes that a format can hold -----------------------------------------------------------------------------------

CLOCKS = {"dit": {"scale": 1000.0}, "sit": {"clock": "data"}, "ppflow": {"clock": "data"}}
THRESHOLDS = {2: [0.5, 0.0], 3: [0.5, 0.25, 0.0]}
FOLDS = {2: [(2, 2), (1, 1)], 3: [(2, 2), (1, 2), (1, 1)]}
"""Rows and columns of pixels that a stage of PPFlow folds into channels, by number of stages."""

PATCHES = st.sampled_from([(2, 2), (4, 4), (2, 4), (4, 2), (8, 8), (8, 2)])
RATIOS = st.sampled_from([(2, 2), (1, 2), (2, 1), (4, 2)])
KINDS = [("sit", 1), ("dit", 1), ("ppflow", 2), ("ppflow", 3), ("mpdit", 2), ("mpditv2", 3)]
"""Formats with their number of patches."""


def times(patch, ratio):
    return patch[0] * ratio[0], patch[1] * ratio[1]


@st.composite
def backbones(draw, name, count):
    """A random small ``backbone`` section for a format, with ``count`` patches."""
    patches = [draw(PATCHES)]
    for _ in range(count - 1):
        patches.insert(0, times(patches[0], draw(RATIOS)))
    if name == "ppflow":
        patches = [times(patches[-1], fold) for fold in FOLDS[count]]
    coarsest = tuple(max(sides) for sides in zip(*patches, strict=True))
    height, width = times(coarsest, draw(st.sampled_from([(1, 2), (2, 1), (3, 2), (1, 1)])))
    heads = draw(st.integers(1, 3))
    blocks = [draw(st.integers(1, 3)) for _ in range(count if name.startswith("mpdit") else 1)]
    backbone = {
        "latent": {"channels": draw(st.integers(1, 8)), "height": height, "width": width},
        "num_classes": draw(st.integers(1, 5)),
        "dim": 4 * heads * draw(st.integers(1, 2)),
        "depth": sum(blocks),
        "heads": heads,
        "head": {"type": "linear", "learn_sigma": draw(st.booleans())},
    }
    if not name.startswith("mpdit"):
        return backbone | of_stages(name, patches)
    levels = [{"patch": as_given(patch), "blocks": many} for patch, many in zip(patches, blocks, strict=True)]
    fno = st.fixed_dictionaries({"type": st.just("fno"), "modes": st.integers(1, 17), "width": st.integers(1, 5)})
    sinusoidal = st.just({"type": "sinusoidal"})
    return backbone | {
        "patch_schedule": {"type": "by_depth", "levels": levels},
        "time_embedder": draw(fno | sinusoidal),
        "class_conditioner": {"type": "class_tokens", "tokens": draw(st.integers(1, 4))},
        "modulation": "shared_adaln",
        "upsampler": "linear_linear",
    }


def of_stages(name, patches):
    """What the recipes of DiT, SiT and PPFlow have, aside of their sizes."""
    own = {
        "time_embedder": {"type": "sinusoidal", **CLOCKS[name]},
        "prediction": "noise" if name == "dit" else "velocity",
    }
    if name != "ppflow":
        return own | {"patch_schedule": {"type": "uniform", "patch": as_given(patches[0])}}
    stages = [
        {"noise_above": above, "patch": as_given(patch)}
        for above, patch in zip(THRESHOLDS[len(patches)], patches, strict=True)
    ]
    return own | {
        "patch_schedule": {"type": "by_timestep", "stages": stages, "ties": "noisier"},
        "position": {"type": "sincos", "coordinates": "finest"},
        "stage_embedder": "learned",
    }


def load(backbone, name="sit"):
    values = {"name": "drawn", "backbone": backbone, "objective": {"path": FORMATS[name].path}}
    return load_recipe(values, registry=REGISTRY)


def random_like(tensors, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    drawn = {key: torch.randn(tensor.shape, generator=generator).to(dtype) for key, tensor in tensors.items()}
    for tensor in drawn.values():
        tensor.view(-1)[0] = -0.0
    return drawn


def same_bits(one, other):
    return one.keys() == other.keys() and all(
        one[key].shape == other[key].shape
        and one[key].dtype == other[key].dtype
        and torch.equal(one[key].contiguous().view(torch.uint8), other[key].contiguous().view(torch.uint8))
        for key in one
    )


def reread(tensors, as_pickle):
    """Tensors by way of a file, or of a training checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        if as_pickle:
            wrapped = {f"module.{key}": tensor for key, tensor in tensors.items()}
            torch.save({"model": {}, "ema": wrapped, "args": argparse.Namespace(lr=1e-4)}, path)
        else:
            save_file(tensors, path)
        return read_checkpoint(path)


def own_tensors(recipe, device="cpu"):
    return build(recipe, registry=REGISTRY, device=device).state_dict()


def check_there_and_back(name, backbone, seed=0, dtype=torch.float32, as_pickle=False):
    """From ours to published and back, and once more from there, by way of a file."""
    recipe = load(backbone, name)
    first = random_like(build(recipe, registry=REGISTRY, device="meta").state_dict(), seed, dtype)
    published = to_published(Weights(recipe, first, {}), name, REGISTRY)
    converted = from_published(reread(published, as_pickle), recipe, REGISTRY, format=name)
    assert converted.weights.recipe == recipe
    assert same_bits(converted.weights.tensors, first)
    assert same_bits(to_published(converted.weights, name, REGISTRY), published)


def check_inferred(name, backbone, dtype=torch.float32):
    """Shapes and tables tell the ``backbone`` section, but for the heads."""
    recipe = load(backbone, name)
    own = {key: tensor.to(dtype) for key, tensor in own_tensors(recipe).items()}
    checkpoint = ForeignCheckpoint(Path("x.pt"), to_published(Weights(recipe, own, {}), name, REGISTRY), "")
    overrides = [f"backbone.heads={backbone['heads']}"]
    converted = from_published(checkpoint, None, REGISTRY, format=name, overrides=overrides, name="inferred")
    assert converted.weights.recipe.name == "inferred"
    assert converted.weights.recipe.backbone.resolved() == recipe.backbone.resolved()
    assert same_bits(converted.weights.tensors, own)
    assert not converted.notes


L = {"channels": 3, "height": 8, "width": 16}
SMALL = {"latent": L, "num_classes": 3, "dim": 8, "depth": 2, "heads": 2}
SIGMA = {"head": {"type": "linear", "learn_sigma": True}}
MPDIT = SMALL | {
    "depth": 3,
    "patch_schedule": {"type": "by_depth", "levels": [{"patch": [4, 8], "blocks": 2}, {"patch": [4, 2], "blocks": 1}]},
    "time_embedder": {"type": "fno", "width": 2, "modes": 3},
    "class_conditioner": {"type": "class_tokens", "tokens": 2},
    "modulation": "shared_adaln",
    "upsampler": "linear_linear",
}
THREE_LEVELS = [{"patch": 8, "blocks": 1}, {"patch": [8, 4], "blocks": 1}, {"patch": [2, 4], "blocks": 1}]
EXAMPLES = {
    "sit": SMALL | SIGMA | of_stages("sit", [(2, 4)]),
    "dit": SMALL | SIGMA | of_stages("dit", [(2, 4)]),
    "ppflow": SMALL | SIGMA | of_stages("ppflow", [(4, 8), (2, 8), (2, 4)]),
    "mpdit": MPDIT,
    "mpditv2": MPDIT | {"patch_schedule": {"type": "by_depth", "levels": THREE_LEVELS}},
}
TWO_STAGES = SMALL | SIGMA | of_stages("ppflow", [(4, 8), (2, 4)])


def published_of(name, backbone=None, device="cpu"):
    """A recipe, and weights of it in the published layout."""
    recipe = load(backbone or EXAMPLES[name], name)
    return recipe, to_published(Weights(recipe, own_tensors(recipe, device), {}), name, REGISTRY)


def infer(name, tensors, *overrides):
    checkpoint = ForeignCheckpoint(Path("x.pt"), tensors, "")
    overrides = ["backbone.heads=2", *overrides]
    return from_published(checkpoint, None, REGISTRY, format=name, overrides=overrides).weights.recipe
