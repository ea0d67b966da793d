"""The published sizes: every parameter and multiply-add, from a list of their layers, and what the papers print."""

from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import RecipeError
from zoo_conv import recipes

FOLDER = Path(recipes.__file__).parent
WINDOW = 9  # of 3x3


def ends(dim, widths, output, places):
    """Layers outside of the levels: inputs of each output (its window counted), outputs, biases, places on the map."""
    yield WINDOW * 4, dim, dim, places
    for width in widths:
        yield from ((256, width, width, 1), (width, width, width, 1), (1001, width, 0, 0))
    yield output, 2 * output, 2 * output, 1
    yield WINDOW * output, 8, 8, places


def dico(dim, runs, ratio, side):
    """The layers of DiCo."""
    fine, middle, coarse = (side**2 // 4**level for level in range(3))
    yield from ends(dim, (dim, 2 * dim, 4 * dim), 2 * dim, fine)
    for c, places, blocks in zip(
        (dim, 2 * dim, 4 * dim, 2 * dim, 2 * dim), (fine, middle, coarse, middle, fine), runs, strict=True
    ):
        for _ in range(blocks):
            yield from ((c, c, c, places), (WINDOW, c, c, places), (c, c, c, 1), (c, c, c, places))
            yield from ((c, ratio * c, ratio * c, places), (ratio * c, c, c, places), (c, 6 * c, 6 * c, 1))
    for c, places in ((dim, fine), (2 * dim, middle)):
        yield WINDOW * c, c // 2, 0, places
    for c, places in ((4 * dim, coarse), (2 * dim, middle)):
        yield WINDOW * c, 2 * c, 0, places
    yield from ((4 * dim, 2 * dim, 2 * dim, middle), (2 * dim, 2 * dim, 2 * dim, fine))


def dic(dim, runs, every, side):
    """The layers of DiC; a GroupNorm has a weight and a bias for each channel, and no multiply-adds."""
    fine, middle, coarse = (side**2 // 4**level for level in range(3))
    yield from ends(dim, (dim, 2 * dim, 4 * dim), dim, fine)
    yield WINDOW * dim, dim, dim, fine
    widths = (dim, 2 * dim, 4 * dim, 2 * dim, dim)
    for level, (c, places, blocks) in enumerate(zip(widths, (fine, middle, coarse, middle, fine), runs, strict=True)):
        for block in range(blocks):
            skips = level > 2 and block % every == 0
            inputs = 2 * c if skips else c
            yield from ((1, inputs, inputs, 0), (1, c, c, 0), (c, 3 * c, 3 * c, 1))
            yield from ((WINDOW * inputs, c, c, places), (WINDOW * c, c, c, places))
            if skips:
                yield inputs, c, c, places
    for c, places in ((dim, fine), (2 * dim, middle)):
        yield WINDOW * c, c // 2, 0, places
    for c, places in ((4 * dim, coarse), (2 * dim, middle)):
        yield WINDOW * c, 2 * c, 0, places


SIZES = {
    "dico_s": (dico, 128, (5, 4, 4, 4, 4), 2),
    "dico_b": (dico, 256, (5, 4, 4, 4, 4), 2),
    "dico_l": (dico, 352, (9, 8, 9, 8, 9), 2),
    "dico_xl": (dico, 416, (9, 9, 10, 9, 9), 2),
    "dico_xl_512": (dico, 416, (9, 9, 10, 9, 9), 2),
    "dico_h": (dico, 416, (14, 12, 10, 12, 14), 4),
    "dic_s": (dic, 96, (6, 6, 5, 6, 6), 3),
    "dic_b": (dic, 192, (6, 6, 5, 6, 6), 3),
    "dic_xl": (dic, 384, (7, 7, 8, 7, 7), 3),
    "dic_h": (dic, 384, (14, 14, 10, 14, 14), 3),
}

# Name, side of the latents, parameters (DiCo's S to XL as its authors print them), 1e9 multiply-adds.
ROWS = [
    ("dico_s", 32, 33_137_672, 4.236),
    ("dico_b", 32, 129_992_712, 16.856),
    ("dico_xl", 32, 701_151_368, 87.221),
    ("dic_s", 32, 32_835_752, 5.866),
    ("dic_b", 32, 129_529_160, 23.442),
    ("dic_xl", 32, 702_266_120, 116.098),
]
LARGER = [
    ("dico_s", 128, 33_137_672, 67.572),
    ("dico_l", 32, 463_897_992, 60.169),
    ("dico_xl_512", 64, 701_151_368, 347.860),
    ("dico_h", 32, 1_037_408_328, 194.029),
    ("dic_xl", 64, 702_266_120, 464.118),
    ("dic_h", 32, 1_034_516_744, 204.324),
    ("dic_h", 64, 1_034_516_744, 816.887),
]


@pytest.mark.parametrize(
    ("name", "side", "parameters", "gmacs"), [*ROWS, *(pytest.param(*row, marks=pytest.mark.slow) for row in LARGER)]
)
def test_published_sizes_are_counted_exactly(name, side, parameters, gmacs, shipped):
    cost = zoo.cost(shipped(name, f"backbone.latent.height={side}", f"backbone.latent.width={side}"))
    make, *size = SIZES[name]
    own = list(make(*size, side))
    assert cost.params.total == cost.params.trainable == parameters == sum(i * o + bias for i, o, bias, _ in own)
    assert cost.macs == sum(i * o * places for i, o, _, places in own)
    assert round(cost.macs / 1e9, 3) == gmacs


VARIANTS = [
    ("dico_mpdit_b", 57_750_704, [7_281_402_880]),
    ("dico_ppflow_b", 95_140_768, [2_784_165_888, 10_953_818_112]),
    ("dico_hybrid_b", 156_015_400, [4_286_119_936, 16_855_793_664]),
]


def test_all_recipes_are_here():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*SIZES, *(name for name, *_ in VARIANTS)}


@pytest.mark.parametrize(
    ("name", "thousands", "guidance", "latents"),
    [
        ("dico_s", 400, 1.0, "fixed"),
        ("dico_xl", 3750, 1.4, "fixed"),
        ("dico_xl_512", 3000, 1.4, "fixed"),
        ("dico_h", 1000, 1.0, "fixed"),
        ("dic_xl", 400, 1.0, True),
        ("dic_h", 2000, 1.0, True),
    ],
)
def test_training_is_as_long_and_on_such_latents_as_published(name, thousands, guidance, latents, shipped):
    recipe = shipped(name)
    assert recipe.train.steps == 1000 * thousands
    assert recipe.sample.guidance.options.scale == guidance
    assert recipe.data.dataset.options.sample_posterior == latents


@pytest.mark.parametrize(("name", "parameters", "macs"), VARIANTS)
def test_variants_cost_what_they_did(name, parameters, macs, shipped):
    cost = zoo.cost(shipped(name))
    assert cost.params.total == parameters
    assert [stage.macs for stage in cost.stages] == macs


@pytest.mark.parametrize("block", ["dico", "dic"])
def test_tokens_in_front_are_refused_in_a_line(block, registry):
    with pytest.raises(RecipeError) as caught:
        zoo.build("mpdit_b", {"backbone.block": block}, registry=registry, device="meta")
    (line,) = (line for line in str(caught.value).splitlines() if f"block '{block}'" in line)
    assert "cannot stand tokens in front of the image's, which class_conditioner 'class_tokens' gives" in line


@pytest.mark.parametrize("name", ["dico_s", "dic_s"])
def test_hourglasses_run_and_learn_everywhere(name, hourglass):
    backbone = hourglass(name)
    latents = torch.randn(3, *backbone.latent, dtype=torch.float64)
    velocity = backbone(latents, torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64), torch.tensor([0, 1, 1000]))
    assert velocity.shape == latents.shape
    velocity.square().sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in backbone.parameters())
