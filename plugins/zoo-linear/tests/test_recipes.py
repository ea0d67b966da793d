from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import RecipeError
from zoo_linear import recipes
from zoo_linear.dig import DiGBlock
from zoo_linear.gated import CHUNK
from zoo_linear.relu import LiTAttention, MixFFN, SANAAttention

FOLDER = Path(recipes.__file__).parent
REGISTRY = zoo.Registry().with_parts([DiGBlock, LiTAttention, MixFFN, SANAAttention])
SMALL = ("backbone.dim=48", "backbone.heads=3", "backbone.latent.height=16", "backbone.latent.width=32")

COUNTS = {
    "dig_s": (32_983_328, 98_304, (5_594_431_488,)),
    "dig_b": (130_551_584, 196_608, (22_082_617_344,)),
    "dig_l": (464_760_352, 262_144, (79_848_275_968,)),
    "dig_xl": (675_659_040, 294_912, (115_392_724_992,)),
    "dig_mpdit_b": (93_311_408, 245_760, (14_234_248_192,)),
    "dig_ppflow_b": (130_701_472, 245_760, (5_561_057_280, 22_082_617_344)),
    "dig_hybrid_b": (97_103_088, 258_048, (3_568_534_528, 14_234_248_192)),
    "lit_b": (130_395_680, 196_608, (23_068_803_072,)),
    "lit_xl": (675_044_384, 294_912, (119_372_857_344,)),
    "lit_mpdit_b": (104_687_024, 245_760, (16_294_798_336,)),
    "lit_ppflow_b": (130_545_568, 245_760, (5_807_603_712, 23_068_803_072)),
    "lit_hybrid_b": (108_478_704, 258_048, (5_166_810_112, 16_294_798_336)),
    "sana_linear_b": (87_094_288, 0, (21_109_800_960,)),
    "sana_mpdit_b": (101_558_192, 0, (14_974_772_224,)),
    "sana_ppflow_b": (87_194_960, 0, (5_285_412_864, 21_109_800_960)),
    "sana_hybrid_b": (105_349_872, 0, (4_744_791_040, 14_974_772_224)),
}
"""Parameters, trained and fixed, and multiply-adds of each stage."""

DIG = {"dig_s": (5.566, 4.30), "dig_b": (22.026, 17.07), "dig_l": (79.697, 61.66), "dig_xl": (115.195, 89.40)}
"""Billions of multiply-adds: with the recurrence as it is written, 64 D a token and block; and as printed for it,
which leaves out the recurrence and SwiGLU's last Linear."""

DEAR = {"dig_s", "dig_l", "dig_xl", "dig_ppflow_b", "dig_hybrid_b", "lit_xl"}


def load(name: str, overrides: tuple[str, ...] = ()):
    return zoo.load_recipe(FOLDER / f"{name}.yaml", overrides, REGISTRY)


def test_all_recipes_are_here():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(COUNTS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in DEAR else name for name in COUNTS]
)
def test_counts(name):
    cost = zoo.cost(load(name), registry=REGISTRY)
    assert (cost.params.trainable, cost.params.fixed, tuple(stage.macs for stage in cost.stages)) == COUNTS[name]


@pytest.mark.parametrize("name", DIG)
def test_dig_is_counted_in_chunks_and_printed_without_them(name):
    backbone, (_, _, (counted,)) = load(name).backbone, COUNTS[name]
    recurrent, printed = DIG[name]
    dim, heads, tokens = backbone.dim, backbone.heads, backbone.depth * 256
    keys, values = dim // 2 // heads, dim // heads
    assert (keys, values) == (32, 64)
    chunks = tokens * heads * (2 * keys * values + CHUNK * (keys + values))
    assert chunks == tokens * 88 * dim
    assert round((counted - chunks + tokens * 64 * dim) / 1e9, 3) == recurrent
    hidden = -(-8 * dim // 3 // 256) * 256
    left_out = counted - chunks - tokens * hidden * dim
    assert 0.001 < printed * 1e9 / left_out - 1 < 0.005  # what is elementwise


@pytest.mark.parametrize(("name", "beside"), [("lit_b", "dit_b"), ("lit_xl", "dit_xl")])
def test_lit_is_dit_with_another_attention(name, beside):
    backbone, (trainable, fixed, (counted,)) = load(name).backbone, COUNTS[name]
    dit = zoo.cost(beside)
    dim, depth, width = backbone.dim, backbone.depth, backbone.dim // backbone.heads
    assert (
        trainable + fixed - dit.params.total == depth * 26 * width
    )  # a kernel of 5x5 and a bias for a head's channels
    assert counted - dit.macs == depth * 256 * dim * (2 * (width + 1) + 25 - 2 * 256)
    assert name == "lit_b" or round((trainable + fixed) / 1e6, 3) == 675.339


def test_sana_has_what_its_parts_have():
    dim, depth, (trainable, _, (counted,)) = 768, 12, COUNTS["sana_linear_b"]
    ends = (16 * dim + dim) + (257 * dim + 769 * dim) + 1001 * dim + (2 * dim + dim * 16 + 16)
    assert trainable == depth * (6_825_984 + 6 * dim) + (6 * dim * dim + 6 * dim) + ends
    hidden = 1920
    block = 4 * dim**2 + 3 * dim * hidden + 2 * 33 * dim + 9 * 2 * hidden
    assert counted == 256 * (depth * block + 2 * 16 * dim) + (256 + dim + 6 * dim) * dim


@pytest.mark.parametrize("name", [name for name in COUNTS if "hybrid" in name])
def test_a_small_one_runs(name):
    recipe = load(name, SMALL)
    backbone = zoo.build(recipe, registry=REGISTRY)
    velocity = backbone(torch.randn(3, *backbone.latent), torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0, 1, 1000]))
    assert velocity.shape == (3, *backbone.latent)
    velocity.sum().backward()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("lit_b", "backbone.router={type: tread, first: 2, stop: 4}", "cannot stand a router that leaves out tokens"),
        ("sana_linear_b", "backbone.position=rope", "position 'rope' gives rotary angles, and no part takes that"),
        ("lit_b", "backbone.heads=5", "dim 768 is not divisible by heads 5"),
        ("sana_linear_b", "backbone.block.mlp.ratio=0.001", "0.768 hidden units are none; raise the ratio"),
    ],
)
def test_what_has_no_meaning_is_refused_in_a_line(name, change, message):
    with pytest.raises(RecipeError) as raised:
        zoo.build(load(name, (change,)), registry=REGISTRY, device="meta")
    assert [message in line for line in str(raised.value).splitlines()] == [True]
