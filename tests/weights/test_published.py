"""Published layouts: every bit goes there and back, the pixels lie where published code has them, misfits are told."""

import argparse
import importlib
import math
import tempfile
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from zoo.assembly import build, load_recipe
from zoo.errors import RecipeError, WeightsError, ZooError
from zoo.registry import Registry
from zoo.weights import FORMATS, Weights, filled, from_published, read_checkpoint, to_published
from zoo.weights.foreign import ForeignCheckpoint
from zoo.weights.published import Tensors, recognised
from zoo.weights.published.base import body_of
from zoo.weights.published.layout import Turn

REGISTRY = Registry()

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
    levels = [{"patch": list(patch), "blocks": many} for patch, many in zip(patches, blocks, strict=True)]
    fno = st.fixed_dictionaries({"type": st.just("fno"), "modes": st.integers(1, 17), "width": st.integers(1, 5)})
    sinusoidal = st.fixed_dictionaries({"type": st.just("sinusoidal"), "layers": st.integers(1, 3)})
    return backbone | {
        "patch_schedule": {"type": "by_depth", "levels": levels},
        "time_embedder": draw(fno | sinusoidal),
        "class_conditioner": {"type": "class_tokens", "tokens": draw(st.integers(1, 4))},
        "modulation": "shared_adaln",
        "upsampler": draw(st.sampled_from(["linear", "linear_linear"])),
    }


def of_stages(name, patches):
    """What the recipes of DiT, SiT and PPFlow have, aside of their sizes."""
    own = {
        "time_embedder": {"type": "sinusoidal", **CLOCKS[name]},
        "prediction": "epsilon" if name == "dit" else "velocity",
    }
    if name != "ppflow":
        return own | {"patch_schedule": {"type": "uniform", "patch": list(patches[0])}}
    stages = [
        {"noise_above": above, "patch": list(patch)}
        for above, patch in zip(THRESHOLDS[len(patches)], patches, strict=True)
    ]
    return own | {
        "patch_schedule": {"type": "by_timestep", "stages": stages, "ties": "noisier"},
        "position": {"type": "sincos", "coordinates": "finest"},
        "stage_embedder": "learned",
    }


def load(backbone):
    return load_recipe({"name": "drawn", "backbone": backbone}, registry=REGISTRY)


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


def own_tensors(recipe):
    return build(recipe, registry=REGISTRY, device="cpu").state_dict()


def check_there_and_back(name, backbone, seed=0, dtype=torch.float32, as_pickle=False):
    """From ours to published and back, and once more from there, by way of a file."""
    recipe = load(backbone)
    first = random_like(build(recipe, registry=REGISTRY, device="meta").state_dict(), seed, dtype)
    published = to_published(Weights(recipe, first, {}), name, REGISTRY)
    converted = from_published(reread(published, as_pickle), recipe, REGISTRY, format=name)
    assert converted.weights.recipe == recipe
    assert same_bits(converted.weights.tensors, first)
    assert same_bits(to_published(converted.weights, name, REGISTRY), published)


def check_inferred(name, backbone, dtype=torch.float32):
    """Shapes and tables tell the ``backbone`` section, but for the heads."""
    recipe = load(backbone)
    own = {key: tensor.to(dtype) for key, tensor in own_tensors(recipe).items()}
    checkpoint = ForeignCheckpoint(Path("x.pt"), to_published(Weights(recipe, own, {}), name, REGISTRY), "")
    overrides = [f"backbone.heads={backbone['heads']}"]
    converted = from_published(checkpoint, None, REGISTRY, format=name, overrides=overrides, name="inferred")
    assert converted.weights.recipe.name == "inferred"
    assert converted.weights.recipe.backbone.resolved() == recipe.backbone.resolved()
    assert same_bits(converted.weights.tensors, own)
    assert not converted.notes


@pytest.mark.parametrize(("name", "count"), KINDS, ids=str)
def test_every_bit_goes_there_and_back(name, count):
    oblong = 0

    @settings(max_examples=15)
    @given(
        backbone=backbones(name, count),
        seed=st.integers(0, 2**31),
        dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
        as_pickle=st.booleans(),
    )
    def law(backbone, seed, dtype, as_pickle):
        nonlocal oblong
        check_there_and_back(name, backbone, seed, dtype, as_pickle)
        oblong += backbone["latent"]["height"] != backbone["latent"]["width"]

    law()
    assert oblong


@pytest.mark.parametrize(("name", "count"), KINDS, ids=str)
def test_shapes_tell_the_backbone(name, count):
    @settings(max_examples=12)
    @given(backbone=backbones(name, count), dtype=st.sampled_from([torch.float32, torch.float16]))
    def law(backbone, dtype):
        check_inferred(name, backbone, dtype)

    law()


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


def published_of(name, backbone=None):
    """A recipe, and weights of it in the published layout."""
    recipe = load(backbone or EXAMPLES[name])
    return recipe, to_published(Weights(recipe, own_tensors(recipe), {}), name, REGISTRY)


def infer(name, tensors, *overrides):
    checkpoint = ForeignCheckpoint(Path("x.pt"), tensors, "")
    overrides = ["backbone.heads=2", *overrides]
    return from_published(checkpoint, None, REGISTRY, format=name, overrides=overrides).weights.recipe


def test_bits_are_compared_one_by_one():
    one = {"a": torch.zeros(2)}
    assert same_bits(one, {"a": torch.zeros(2)})
    for other in ({"a": -torch.zeros(2)}, {"b": torch.zeros(2)}, {"a": torch.zeros(2, 1)}, {"a": torch.zeros(2).int()}):
        assert not same_bits(one, other)


@pytest.mark.parametrize("name", ["sit", "ppflow"])
def test_a_sign_that_turns_one_way_only_is_noticed(name, monkeypatch):
    monkeypatch.setattr(
        Turn, "to_own", lambda turn, tensor: replace(turn, sign=1)._turned(tensor, turn.published, turn.own)
    )
    with pytest.raises(AssertionError):
        check_there_and_back(name, EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tensor_that_is_forgotten_is_noticed(name, monkeypatch):
    sound = type(FORMATS[name]).entries
    monkeypatch.setattr(type(FORMATS[name]), "entries", lambda *given: list(sound(*given))[1:])
    with pytest.raises(AssertionError):
        check_there_and_back(name, EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_sides_that_are_mixed_up_are_noticed(name, monkeypatch):
    module = importlib.import_module(type(FORMATS[name]).infer.__module__)
    sound = module.grid_of_table
    monkeypatch.setattr(module, "grid_of_table", lambda *given: sound(*given)[::-1])
    oblong = EXAMPLES[name] | {"latent": {"channels": 3, "height": 8, "width": 48}}
    with pytest.raises((AssertionError, ZooError)):
        check_inferred(name, oblong)


def test_a_rounded_table_is_the_same_table():
    check_inferred("sit", EXAMPLES["sit"], torch.bfloat16)


def test_what_shapes_cannot_tell_is_the_default():
    drawn = MPDIT | {"class_conditioner": {"type": "class_tokens", "tokens": 2, "std": 1.0}}
    recipe = infer("mpdit", published_of("mpdit", drawn)[1]).backbone
    assert recipe.class_conditioner.resolved()["std"] == 0.02
    assert recipe.time_embedder.resolved()["grid"] == 32


@given(dim=st.integers(1, 64).map(lambda count: 4 * count), hidden=st.integers(1, 2000))
def test_an_inferred_ratio_gives_the_mlp_its_width(dim, hidden):
    tensors = Tensors({"blocks.0.mlp.fc1.weight": torch.empty(hidden, dim, device="meta")}, "x.pt")
    ratio = body_of(tensors, "blocks.0", 1).get("block", {"mlp_ratio": 4.0})["mlp_ratio"]
    assert int(dim * ratio) == hidden


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16), (1152, 16), (400, None)])
def test_heads_of_published_widths_are_known(width, heads):
    tensors = Tensors({"blocks.0.mlp.fc1.weight": torch.empty(4 * width, width, device="meta")}, "x.pt")
    assert body_of(tensors, "blocks.0", 7) == {"dim": width, "depth": 7} | ({"heads": heads} if heads else {})


# -- where the pixels lie ---------------------------------------------------------------------------------------------
#
# With modulations that are zero, blocks pass their tokens on, and all that is left is what layouts are about: patch
# embedders, tables, upsamplers, heads. The published way of these is written out here with convolutions and indices.


def folded(latents, rows, columns):
    """Space to depth: channels (channel, row, column)."""
    b, c, h, w = latents.shape
    out = latents.new_empty(b, c * rows * columns, h // rows, w // columns)
    for channel, i, j in product(range(c), range(rows), range(columns)):
        out[:, (channel * rows + i) * columns + j] = latents[:, channel, i::rows, j::columns]
    return out


def unfolded(image, rows, columns):
    b, c, h, w = image.shape
    out = image.new_empty(b, c // rows // columns, h * rows, w * columns)
    for channel, i, j in product(range(out.shape[1]), range(rows), range(columns)):
        out[:, channel, i::rows, j::columns] = image[:, (channel * rows + i) * columns + j]
    return out


def embedded(weights, name, image):
    weight = weights[f"{name}.weight"]
    return F.conv2d(image, weight, weights[f"{name}.bias"], stride=weight.shape[2:]).flatten(2).transpose(1, 2)


def linear(weights, name, tokens):
    return tokens @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(tokens):
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)


def image_of(pixels, grid, patch, channels):
    """Pixels (row in patch, column in patch, channel) of every token as an image, its first ``channels``."""
    b, n, many = pixels.shape
    every = many // math.prod(patch)
    out = pixels.new_empty(b, every, *times(grid, patch))
    for token, i, j in product(range(n), range(patch[0]), range(patch[1])):
        row, column = token // grid[1] * patch[0] + i, token % grid[1] * patch[1] + j
        first = (i * patch[1] + j) * every
        out[:, :, row, column] = pixels[:, token, first : first + every]
    return out[:, :channels]


def upsampled(weights, name, tokens, m, grid, factor):
    """Channels (D, row, column) of a coarse token as finer tokens; then both kinds of tokens together."""
    classes, coarse = tokens[:, :m], linear(weights, f"{name}.proj", tokens[:, m:])
    b, _, dim = classes.shape
    fine = coarse.new_empty(b, math.prod(times(grid, factor)), dim)
    for token, i, j, d in product(range(coarse.shape[1]), range(factor[0]), range(factor[1]), range(dim)):
        row, column = token // grid[1] * factor[0] + i, token % grid[1] * factor[1] + j
        fine[:, row * grid[1] * factor[1] + column, d] = coarse[:, token, (d * factor[0] + i) * factor[1] + j]
    if f"{name}.refine.weight" not in weights:
        return torch.cat([classes, fine], dim=1)
    return linear(weights, f"{name}.refine", norm(torch.cat([classes, F.gelu(fine, approximate="tanh")], dim=1)))


def of_one_stage(weights, latents, stage, patches):
    """DiT's, SiT's, or that of a stage of PPFlow; the head's second half is of sigma."""
    fine, own = patches[-1], patches[stage]
    fold = own[0] // fine[0], own[1] // fine[1]
    table = "pos_embed" if len(patches) == 1 else f"pos_embed.{stage}"
    suffix = "" if stage == len(patches) - 1 else f"{stage + 1}"
    image = folded(latents, *fold)
    tokens = embedded(weights, f"x_embedder.proj{suffix}", image) + weights[table]
    pixels = linear(weights, f"final_layer.linear{suffix}", norm(tokens))
    grid = image.shape[2] // fine[0], image.shape[3] // fine[1]
    return unfolded(image_of(pixels, grid, fine, image.shape[1]), *fold)


LEVELS = {
    "mpdit": [("x_embedder", "pos_embed_downsampled", "", ""), ("x_embedder_skip", "pos_embed", "upsampler",
                                                                "linear_skip")],
    "mpditv2": [("x_embedder", "pos_embed", "", "")]
    + [(f"x_embedder_lvl{i}", f"pos_embed_lvl{i}", f"upsampler_lvl{i}", f"linear_skip_lvl{i}") for i in (1, 2)],
}  # fmt: skip


def of_levels(name, weights, latents, labels, patches):
    names = LEVELS[name]
    tokens = embedded(weights, f"{names[0][0]}.proj", latents)
    classes = weights["y_embedder.embedding_table.weight"][labels].view(len(labels), -1, tokens.shape[2])
    m = classes.shape[1]
    grids = [(latents.shape[2] // patch[0], latents.shape[3] // patch[1]) for patch in patches]
    tokens = torch.cat([classes, tokens + weights[names[0][1]]], dim=1)
    for (embedder, table, upsampler, skip), (before, grid) in zip(names[1:], pairwise(grids), strict=True):
        factor = grid[0] // before[0], grid[1] // before[1]
        tokens = upsampled(weights, upsampler, tokens, m, before, factor)
        tokens[:, m:] += linear(weights, skip, embedded(weights, f"{embedder}.proj", latents)) + weights[table]
    pixels = linear(weights, "final_layer.linear", norm(tokens[:, m:]))
    return image_of(pixels, grids[-1], patches[-1], latents.shape[1])


def check_pixels(name, backbone):
    """The published weights, imported, put every pixel where the published code does."""
    recipe, shapes = published_of(name, backbone)
    weights = {key: tensor.double() for key, tensor in random_like(shapes, 0).items()}
    weights |= {key: torch.zeros_like(tensor) for key, tensor in weights.items() if "modulation" in key}
    checkpoint = ForeignCheckpoint(Path("x.pt"), weights, "")
    imported = from_published(checkpoint, recipe, REGISTRY, format=name).weights
    own = filled(imported, REGISTRY, torch.device("cpu"))
    latents = torch.randn(2, *own.latent, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.tensor([2, 0])
    for index, stage in enumerate(own.stages):
        if name.startswith("mpdit"):
            patches = [level.patch for level in stage.levels]
            expected = of_levels(name, weights, latents, labels, patches)
        else:
            expected = of_one_stage(weights, latents, index, [each.levels[0].patch for each in own.stages])
            expected = expected if name == "dit" else -expected
        t = torch.full((2,), stage.noise_above + 0.1, dtype=torch.float64)
        with torch.no_grad():
            assert (own(latents, t, labels) - expected).abs().max() < 1e-8


PIXELS = {
    **EXAMPLES,
    "ppflow two stages": TWO_STAGES,
    "sit without sigma": EXAMPLES["sit"] | {"head": "linear"},
    "ppflow without sigma": EXAMPLES["ppflow"] | {"head": "linear"},
    "mpdit with sigma": EXAMPLES["mpdit"] | SIGMA,
    "mpdit linear": EXAMPLES["mpdit"] | {"upsampler": "linear"},
    "mpditv2 linear": EXAMPLES["mpditv2"] | {"upsampler": "linear"},
}


@pytest.mark.parametrize("case", PIXELS)
def test_pixels_lie_where_published_code_has_them(case):
    check_pixels(case.split()[0], PIXELS[case])


def other(published=None, own=None, sign=None):
    """A change of a turn."""

    def change(turn):
        parts = {"published": turn.published, "own": turn.own, "sign": turn.sign}
        for key, swap in (("published", published), ("own", own)):
            if swap:
                assert swap[0] in parts[key]
                parts[key] = parts[key].replace(*swap)
        if sign:
            parts["sign"] = sign
        return replace(turn, **parts)

    return change


def reordered(published, own, **sizes):
    """A turn where there should be none."""
    return lambda turn: Turn(published, own, tuple(sizes.items()), turn.sign)


FINEST = "final_layer.linear"
BROKEN = {
    "columns before rows": ("sit", "x_embedder.proj.weight", other(own=("a b", "b a"))),
    "channels last": ("dit", "x_embedder.proj.weight", other(own=("c a b", "a b c"))),
    "rows of a coarse patch": ("mpdit", "x_embedder.proj.weight", other(own=("a b", "b a"))),
    "rows of a skip's patch": ("mpditv2", "x_embedder_lvl2.proj.weight", other(own=("a b", "b a"))),
    "neighbouring patches": ("ppflow", "x_embedder.proj1.weight", other(own=("a r b s", "r a s b"))),
    "folded columns first": ("ppflow", "x_embedder.proj1.weight", other(published=("c r s", "c s r"))),
    "folded channels last": ("ppflow", "x_embedder.proj1.weight", other(published=("c r s", "r s c"))),
    "wide patches": ("ppflow", "x_embedder.proj2.weight", other(own=("a r b s", "r a s b"))),
    "pixels of a coarse head": ("ppflow", "final_layer.linear1.weight", other(own=("a r b s", "r a s b"))),
    "pixels of its bias": ("ppflow", "final_layer.linear1.bias", other(own=("a r b s", "r a s b"))),
    "pixels of a wide head": ("ppflow", "final_layer.linear2.weight", other(own=("a r b s", "r a s b"))),
    "halves inside": ("ppflow", "final_layer.linear1.weight", other(published=("h c r s", "c r s h"))),
    "sign of a coarse head": ("ppflow", "final_layer.linear1.weight", other(sign=1)),
    "sign of a head": ("sit", f"{FINEST}.weight", other(sign=1)),
    "sign of a bias": ("sit", f"{FINEST}.bias", other(sign=1)),
    "sign of noise": ("dit", f"{FINEST}.weight", other(sign=-1)),
    "columns of a head": ("sit", f"{FINEST}.weight", reordered("(a b c) d", "(b a c) d", a=2, b=4)),
    "channels of a head": ("mpdit", f"{FINEST}.weight", reordered("(p c) d", "(c p) d", p=8)),
    "tokens first": ("mpdit", "upsampler.proj.weight", reordered("(d p) e", "(p d) e", d=8)),
    "columns of an upsampler": ("mpditv2", "upsampler_lvl2.proj.weight", reordered("(d p) e", "(p d) e", d=8)),
}


@pytest.mark.parametrize(("name", "key", "change"), BROKEN.values(), ids=list(BROKEN))
def test_a_tensor_that_is_turned_otherwise_is_noticed(name, key, change, monkeypatch):
    sound, seen = type(FORMATS[name]).entries, []

    def entries(self, recipe, stages):
        for entry in sound(self, recipe, stages):
            if entry.published == key:
                seen.append(key)
                entry = entry._replace(turn=change(entry.turn))
            yield entry

    monkeypatch.setattr(type(FORMATS[name]), "entries", entries)
    with pytest.raises(AssertionError):
        check_pixels(name, EXAMPLES[name])
    assert seen


def test_tables_of_coarse_stages_are_every_second_row_and_column_of_the_finest():
    tensors = published_of("ppflow", EXAMPLES["ppflow"] | {"latent": {"channels": 1, "height": 8, "width": 32}})[1]
    coarse, wide, fine = (tensors[f"pos_embed.{index}"][0] for index in range(3))
    fine = fine.view(4, 8, -1)
    assert torch.equal(wide, fine[:, ::2].flatten(0, 1))
    assert torch.equal(coarse, fine[::2, ::2].flatten(0, 1))


def test_a_threshold_belongs_to_the_noisier_stage():
    backbone = build(infer("ppflow", published_of("ppflow")[1]), registry=REGISTRY, device="meta")
    noise = 1 - torch.tensor([0.0, 0.5, 0.5 + 2**-20, 0.75, 0.75 + 2**-20, 1.0])
    assert backbone.stage_of(noise).tolist() == [0, 0, 1, 1, 2, 2]


# -- which format it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_format_is_recognised_by_its_keys(name):
    keys = list(published_of(name)[1])
    expected = ["sit", "dit"] if name in ("sit", "dit") else [name]
    assert recognised(keys) == expected
    assert recognised([*keys, "another"]) == expected
    assert recognised([f"model.{key}" for key in keys]) == []


def test_keys_of_none_are_of_no_format():
    assert recognised([]) == []
    assert recognised(list(own_tensors(load(EXAMPLES["sit"])))) == []


# -- keys that do not fit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_key_that_is_missing_is_told(name):
    recipe, tensors = published_of(name)
    for missing in tensors:
        left = {key: tensor for key, tensor in tensors.items() if key != missing}
        with pytest.raises(WeightsError) as caught:
            from_published(ForeignCheckpoint(Path("x.pt"), left, ""), recipe, REGISTRY, format=name)
        assert caught.value.problems[-1] == f"{missing} is missing"
        assert sum("is missing" in problem for problem in caught.value.problems) == 1


def without(*keys):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if not key.startswith(keys)}


def changed(**shapes):
    return lambda tensors: tensors | {key: torch.ones(shape) for key, shape in shapes.items()}


UNCLEAR = {
    "missing": ("sit", without("y_embedder"), "y_embedder.embedding_table.weight is missing"),
    "missing block": ("sit", without("blocks.0"), "blocks.0 is missing"),
    "no block": ("sit", without("blocks"), "blocks.0.mlp.fc1.weight is missing"),
    "axes": (
        "sit", changed(**{"x_embedder.proj.weight": (8, 3, 2)}),
        "x_embedder.proj.weight has shape [8, 3, 2], which should have 4 axes",
    ),
    "nothing in it": (
        "sit", changed(**{"x_embedder.proj.weight": (8, 3, 0, 2)}),
        "x_embedder.proj.weight has shape [8, 3, 0, 2], which should have 4 axes",
    ),
    "outputs": (
        "mpdit", changed(**{"final_layer.linear.weight": (25, 8)}),
        "final_layer.linear.weight has 25 rows, and a patch has 24 pixels",
    ),
    "class tokens": (
        "mpdit", changed(**{"y_embedder.embedding_table.weight": (4, 20)}),
        "y_embedder.embedding_table.weight has 20 columns, and the width 8",
    ),
    "grid": (
        "sit", changed(pos_embed=(1, 6, 8)), "pos_embed has 6 positions, of no sin-cos grid and of no square",
    ),
    "tables": ("ppflow", without("pos_embed.1", "pos_embed.2"), "there are 1 position tables in place of two or three"),
    "level": ("mpditv2", without("x_embedder_lvl1"), "x_embedder_lvl1.proj.weight is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "reason"), UNCLEAR.values(), ids=list(UNCLEAR))
def test_shapes_that_tell_no_recipe(name, change, reason):
    with pytest.raises(WeightsError) as caught:
        infer(name, change(published_of(name)[1]))
    assert str(caught.value) == f"x.pt: no recipe can be told from its shapes: {reason}; give --recipe R"


def test_a_table_of_another_kind_is_taken_for_that_of_a_square():
    _, tensors = published_of("sit", EXAMPLES["sit"] | of_stages("sit", [(4, 2)]))
    sizes = []
    for table in (tensors["pos_embed"], torch.ones(1, 16, 8)):
        latent = infer("sit", tensors | {"pos_embed": table}).backbone.latent
        sizes.append((latent.height, latent.width))
    assert sizes == [(8, 16), (16, 8)]


# -- backbones that a format cannot hold ------------------------------------------------------------------------------


def refusal(name, backbone):
    """What is told of an export, a line for every reason."""
    with pytest.raises(WeightsError, match=rf"^drawn: {name} cannot hold it:\n") as caught:
        to_published(Weights(load(backbone), {}, {}), name, REGISTRY)
    return list(caught.value.problems)


def with_part(name, kind, part):
    """The example of a format with another part, and what goes with it; None where the parts do not go together."""
    others = {"position": "rotary", "block": "rotary"}
    for more in ({}, {other: value for other, value in others.items() if other != kind}):
        try:
            return load(EXAMPLES[name] | more | {kind: part}), more
        except RecipeError:
            pass
    return None


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_part_that_the_format_has_not(name):
    seen = set()
    for kind, names in FORMATS[name].parts.items():
        for entry in REGISTRY.entries(kind):
            if entry.name in names or (found := with_part(name, kind, entry.name)) is None:
                continue
            seen.add(kind)
            with pytest.raises(WeightsError) as caught:
                to_published(Weights(found[0], {}, {}), name, REGISTRY)
            line = f"backbone.{kind}: {name} has {' or '.join(names)}, the recipe {entry.name}"
            assert line in caught.value.problems
            assert found[1] or caught.value.problems == (line,)
    choices = {kind for kind in FORMATS[name].parts if len(REGISTRY.entries(kind)) > len(FORMATS[name].parts[kind])}
    assert seen == choices


def stages(thresholds, patches, ties="noisier"):
    given = [{"noise_above": above, "patch": patch} for above, patch in zip(thresholds, patches, strict=True)]
    return {"patch_schedule": {"type": "by_timestep", "stages": given, "ties": ties}}


def levels(*patches):
    given = [{"patch": patch, "blocks": 1} for patch in patches]
    return {"depth": len(given), "patch_schedule": {"type": "by_depth", "levels": given}}


TWO_OF_EACH = {
    "depth": 2,
    "patch_schedule": {
        "type": "by_depth_and_timestep",
        "stages": [
            {"noise_above": above, "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 1}]}
            for above in (0.5, 0.0)
        ],
        "ties": "noisier",
    },
}
ONE_PATCH = "backbone.patch_schedule: {} has one patch for all blocks and noise levels"
STAGES = "backbone.patch_schedule: ppflow has two or three stages by noise level, with one patch each"
MISFITS = {
    "sit stages": ("sit", stages([0.5, 0.0], [4, 2]), ONE_PATCH.format("sit")),
    "dit levels": ("dit", levels(4, 2), ONE_PATCH.format("dit")),
    "one stage": ("ppflow", stages([0.0], [2]), STAGES),
    "four stages": ("ppflow", stages([0.75, 0.5, 0.25, 0.0], [4, 4, 4, 2]), STAGES),
    "stages of levels": ("ppflow", TWO_OF_EACH, STAGES),
    "patches": (
        "ppflow",
        stages([0.5, 0.25, 0.0], [[4, 4], [4, 2], [2, 2]]),
        "backbone.patch_schedule: ppflow's patches would be 4x4, 2x4, 2x2, the recipe's are 4x4, 4x2, 2x2",
    ),
    "thresholds": (
        "ppflow",
        stages([0.6, 0.0], [4, 2]),
        "backbone.patch_schedule: ppflow's stages begin above [0.5, 0.0], the recipe's above [0.6, 0.0]",
    ),
    "one level": ("mpdit", levels(4), "backbone.patch_schedule: mpdit has 2 levels, the recipe 1"),
    "three levels": ("mpdit", levels(8, 4, 2), "backbone.patch_schedule: mpdit has 2 levels, the recipe 3"),
    "two levels": ("mpditv2", levels(4, 2), "backbone.patch_schedule: mpditv2 has 3 levels, the recipe 2"),
    "levels in stages": (
        "mpdit",
        TWO_OF_EACH,
        "backbone.patch_schedule: mpdit has the same patches at every noise level",
    ),
    "no skip": ("mpdit", {"skip": "none"}, "backbone.skip: mpdit has linear, the recipe none"),
    "clock": ("sit", {"time_embedder": "sinusoidal"}, "backbone.time_embedder.clock: sit has data"),
    "clock of stages": ("ppflow", {"time_embedder": "sinusoidal"}, "backbone.time_embedder.clock: ppflow has data"),
    "clock of levels": (
        "mpditv2",
        {"time_embedder": {"type": "sinusoidal", "clock": "data"}},
        "backbone.time_embedder.clock: mpditv2 has noise",
    ),
    "scale": ("dit", {"time_embedder": "sinusoidal"}, "backbone.time_embedder.scale: dit has 1000.0"),
    "velocity": ("dit", {"prediction": "velocity"}, "backbone.prediction: dit has epsilon"),
    "noise": ("mpdit", {"prediction": "epsilon"}, "backbone.prediction: mpdit has velocity"),
}


@pytest.mark.parametrize(("name", "change", "line"), MISFITS.values(), ids=list(MISFITS))
def test_what_a_format_cannot_hold_is_told(name, change, line):
    assert refusal(name, EXAMPLES[name] | change) == [line]


def test_ties_of_the_other_side_are_told_once():
    change = stages([0.5, 0.0], [[4, 8], [2, 4]], ties="cleaner")
    (line,) = refusal("ppflow", EXAMPLES["ppflow"] | change)
    assert line.startswith("backbone.patch_schedule")
    assert "noisier" in line


ANOTHER_FUNCTION = {
    "grid": ("mpdit", {"time_embedder": {"type": "fno", "grid": 64}}),
    "blocks": ("mpdit", {"time_embedder": {"type": "fno", "blocks": 2}}),
    "layers": ("sit", {"time_embedder": {"type": "sinusoidal", "clock": "data", "layers": 3}}),
}


@pytest.mark.parametrize(("name", "change"), ANOTHER_FUNCTION.values(), ids=list(ANOTHER_FUNCTION))
def test_a_time_embedder_that_published_code_cannot_compute(name, change):
    recipe = load(EXAMPLES[name] | change)
    with pytest.raises(WeightsError, match=r"backbone\.time_embedder\.(grid|blocks|layers): "):
        to_published(Weights(recipe, own_tensors(recipe), {}), name, REGISTRY)


def test_all_reasons_are_told_at_once():
    change = {"prediction": "epsilon", "modulation": "adaln_zero", "skip": "none", **levels(4)}
    assert refusal("mpdit", MPDIT | change) == [
        "backbone.modulation: mpdit has shared_adaln, the recipe adaln_zero",
        "backbone.patch_schedule: mpdit has 2 levels, the recipe 1",
        "backbone.prediction: mpdit has velocity",
        "backbone.skip: mpdit has linear, the recipe none",
    ]


def test_an_import_into_such_a_backbone_is_refused_alike():
    _, tensors = published_of("sit")
    recipe = load(EXAMPLES["sit"] | {"modulation": "shared_adaln"} | stages([0.5, 0.0], [4, 2]))
    with pytest.raises(WeightsError, match=r"^x\.pt: drawn cannot hold weights of sit:\n") as caught:
        from_published(ForeignCheckpoint(Path("x.pt"), tensors, ""), recipe, REGISTRY)
    assert caught.value.problems == (
        "backbone.modulation: sit has adaln_zero, the recipe shared_adaln",
        ONE_PATCH.format("sit"),
    )


def test_what_the_published_code_fixes_is_settled_on_import():
    _, tensors = published_of("ppflow")
    recipe = load(
        EXAMPLES["ppflow"]
        | stages([0.5, 0.25, 0.0], [[4, 8], [2, 8], [2, 4]], ties="cleaner")
        | {"time_embedder": {"type": "sinusoidal", "scale": 2.0}, "prediction": "epsilon"}
    )
    converted = from_published(ForeignCheckpoint(Path("x.pt"), tensors, ""), recipe, REGISTRY)
    assert converted.weights.recipe.backbone.resolved() == load(EXAMPLES["ppflow"]).backbone.resolved()
    assert set(converted.notes) == {
        "backbone.prediction is velocity, as ppflow has it",
        "backbone.time_embedder.clock is data, as ppflow has it",
        "backbone.time_embedder.scale is 1.0, as ppflow has it",
        "backbone.patch_schedule.ties is noisier, as ppflow has it",
    }
