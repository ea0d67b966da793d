"""Blocks in runs, and parts inside a part."""

from pathlib import Path

import pytest

import zoo
from tests.recipe.drafts import BASE
from zoo.assembly import load_recipe
from zoo.errors import RecipeError
from zoo.parts import Norm
from zoo.parts.blocks import DiTBlock
from zoo.parts.norms import LayerNorm
from zoo.registry import Registry, part


def test_the_parts_inside_a_part_are_filled_in(load):
    blocks = [
        load({"r.yaml": f"{BASE}  block: {block}\n"}).backbone.block_specs[0].resolved()
        for block in (
            "{attention: {qk_norm: rms}, norm: {eps: 0.1}}",
            "{attention: {type: softmax, qk_norm: {type: rms}}, cross: null, mlp: {type: null}, norm: {eps: 0.1}}",
        )
    ]
    assert blocks[0] == blocks[1]
    rms = {"type": "rms", "affine": False, "eps": 1e-6}
    assert blocks[0]["attention"] == {"type": "softmax", "bias": True, "qk_norm": rms}
    assert blocks[0]["cross"] is None
    assert blocks[0]["mlp"]["type"] == "gelu"
    assert blocks[0]["norm"] == {"type": "layer", "affine": False, "eps": 0.1}


def test_blocks_may_come_in_runs(load):
    recipe = load(
        {"r.yaml": BASE.replace("depth: 2", "depth: 5") + "  block: [{blocks: 2}, {mlp: swiglu, blocks: 3}]\n"}
    )
    assert [run.blocks for run in recipe.backbone.block] == [2, 3]
    mlps = ["gelu", "gelu", "swiglu", "swiglu", "swiglu"]
    assert [spec.parts["mlp"].type for spec in recipe.backbone.block_specs] == mlps
    assert recipe.backbone.of("block") == recipe.backbone.block_specs
    resolved = recipe.resolved()["backbone"]["block"]
    assert [(each["type"], each["blocks"], each["mlp"]["type"]) for each in resolved] == [
        ("dit", 2, "gelu"), ("dit", 3, "swiglu")
    ]  # fmt: skip


@pytest.mark.parametrize("block", ["dit", "[{type: dit, blocks: 2}]", "[{blocks: 2}]"])
def test_one_run_is_a_part(load, block):
    recipe = load({"r.yaml": f"{BASE}  block: {block}\n"})
    assert recipe == load({"r.yaml": BASE})
    assert recipe.resolved()["backbone"]["block"]["type"] == "dit"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("[]", ["block: should be a part or a list of runs, got []"]),
        ("3", ["block: should be a part's name or a mapping with `type`, got 3"]),
        ("[dit]", ["block.0.blocks: missing; it is required"]),
        ("[{blocks: 2}, null]", ["block.1.blocks: missing; it is required"]),
        ("[{blocks: 2}, 3]", ["block.1: should be a part's name or a mapping with `type`, got 3"]),
        ("[{blocks: 0}, {blocks: 2}]", ["block.0.blocks: should be at least 1, got 0"]),
        ("[{blocks: 1.0}, {blocks: 1}]", ["block.0.blocks: should be a whole number, got 1.0"]),
        (
            "[{blocks: 1}, {blocks: 2}]",
            ["block: block counts must add up to depth: 1 + 2 = 3, but backbone.depth is 2"],
        ),
        (
            "[{blocks: 3}]",
            ["block: block counts must add up to depth: 3, but backbone.depth is 2"],
        ),
        (
            "[{blocks: 1}, {type: dti, blocks: 1}]",
            ["block.1.type: there is no block 'dti'; did you mean 'dit'? (installed: dit)"],
        ),
        (
            "[{blocks: 1}, {blocks: 1, bloks: 1}]",
            ["block.1.bloks: unknown option; did you mean 'blocks'?"],
        ),
        (
            "[{blocks: 1, norm: {eps: 0}}, {blocks: 1, attention: {qk_norm: 1}}]",
            [
                "block.0.norm.eps: should be above 0.0, got 0",
                "block.1.attention.qk_norm: should be a part's name or a mapping with `type`, got 1",
            ],
        ),
        (
            "{type: dit, blocks: 2}",
            ["block.blocks: is for a list: write [{type: dit, blocks: 2}, ...], or leave it out"],
        ),
        (
            "{blocks: [2], shft: no}",
            [
                "block.blocks: is for a list: write [{type: dit, blocks: [2]}, ...], or leave it out",
                "block.shft: unknown option; did you mean 'shift'?",
            ],
        ),
    ],
)
def test_runs_that_do_not_fit(problems, block, expected):
    assert problems(f"{BASE}  block: {block}\n") == [f"r.yaml:8: backbone.{line}" for line in expected]


def test_runs_are_told_by_the_line_that_they_stand_on(problems):
    text = f"{BASE}  block:\n    - blocks: 1\n    - blocks: 1\n      mlp: {{ratio: 0}}\n"
    assert problems(text) == ["r.yaml:11: backbone.block.1.mlp.ratio: should be above 0.0, got 0"]


def test_every_problem_inside_a_part_is_told(problems):
    assert problems(BASE + "  block:\n    attention: {bias: 3}\n    norm: {eps: no, x: 1}\n    y: 2\n") == [
        "r.yaml:11: backbone.block.y: unknown option; there are: shift, type, attention, cross, mlp, norm",
        "r.yaml:9: backbone.block.attention.bias: should be true or false, got 3",
        'r.yaml:10: backbone.block.norm.eps: should be a number, got "no"',
        "r.yaml:10: backbone.block.norm.x: unknown option; there are: affine, eps, type",
    ]


@part("norm", "inner")
class Inner(LayerNorm):
    pass


@part("block", "holder")
class Holder(DiTBlock):
    def __init__(self, dim: int, heads: int, *, norm: zoo.Part[Norm] = Inner) -> None:
        super().__init__(dim, heads, norm=norm)


@part("block", "wants_one")
class WantsOne(DiTBlock):
    def __init__(self, dim: int, heads: int, *, norm: zoo.Part[Norm]) -> None:
        super().__init__(dim, heads, norm=norm)


@pytest.mark.parametrize(
    ("block", "parts", "expected"),
    [
        (
            "holder",
            [Holder],
            f"backbone.block.norm: its default: {__name__}.Inner is not registered; name it in an entry point of its"
            " plug-in",
        ),
        ("wants_one", [WantsOne], "backbone.block.norm: missing; it is required, one of: layer, rms"),
        ("{type: wants_one, norm: {}}", [WantsOne], "backbone.block.norm: missing; it is required, one of: layer, rms"),
    ],
)
def test_a_part_inside_a_part_that_is_not_there(block, parts, expected):
    Path("r.yaml").write_text(f"{BASE}  block: {block}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("r.yaml", (), Registry(), parts=parts)
    assert caught.value.problems == (f"r.yaml:8: {expected}",)
    assert load_recipe("r.yaml", ["backbone.block.norm=rms"], Registry(), parts=[*parts, Inner]).backbone.block
