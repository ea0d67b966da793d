"""Where the pixels and channels of published layers lie, written out with convolutions and loops."""

import math
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.weights.layouts import (
    EXAMPLES,
    FORMATS,
    REGISTRY,
    SIGMA,
    TWO_STAGES,
    infer,
    published_of,
    random_like,
    times,
)
from zoo.assembly import build
from zoo.weights import filled, from_published
from zoo.weights.foreign import ForeignCheckpoint
from zoo.weights.published.layout import Turn

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
    own = filled(imported, torch.device("cpu"))
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
