"""Every recipe costs what its formulas say, beside PPFlow's of the same tokens."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo_pyramid.path import PyramidPath
from zoo_pyramid.schedule import Pyramid

RECIPES = Path(str(files("zoo_pyramid.recipes")))
REGISTRY = zoo.Registry().with_parts([Pyramid, PyramidPath])
NAMES = (
    *("pyramid_b_2", "pyramid_b_2_no_renoising", "pyramid_mpdit_b"),
    *("pyramid_digits", "pyramid_digits_no_renoising"),
)


@cache
def cost(name: str, **changed: Any) -> Any:
    path = RECIPES / f"{name}.yaml"
    return zoo.cost(path if path.exists() else name, changed, registry=REGISTRY)


def block_macs(tokens: int, dim: int, blocks: int) -> int:
    """Attention and an MLP four times as wide, and six vectors of the modulation."""
    return blocks * (12 * tokens * dim**2 + 2 * tokens**2 * dim + 6 * dim**2)


def stage_macs(tokens: int, dim: int, blocks: int, pixels: int, drawn: int) -> int:
    """Of a DiT on so many tokens: blocks, embedder and head, two vectors of its modulation, and the time's MLP."""
    return block_macs(tokens, dim, blocks) + tokens * (pixels + drawn) * dim + 2 * dim**2 + 256 * dim + dim**2


def test_all_recipes_are_here():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "dim", "blocks", "pixels", "drawn", "tokens"),
    [("pyramid_b_2", 768, 12, 16, 32, (64, 256)), ("pyramid_digits", 96, 6, 4, 4, (16, 64))],  # 32: SiT's, with sigma
)
def test_costs_are_those_of_the_formulas(name, dim, blocks, pixels, drawn, tokens):
    counted = cost(name)
    assert [[level.tokens for level in stage.levels] for stage in counted.stages] == [[each] for each in tokens]
    expected = [stage_macs(each, dim, blocks, pixels, drawn) for each in tokens]
    assert [stage.macs for stage in counted.stages] == expected
    assert counted.macs == sum(expected) / 2


@pytest.mark.parametrize(
    ("name", "other", "limit"), [("pyramid_b_2", "ppflow_b_2", 3e-4), ("pyramid_digits", "digits_ppflow", 7e-4)]
)
def test_tokens_are_ppflows_and_costs_but_for_the_larger_patch(name, other, limit):
    one, ppflow = cost(name), cost(other)
    levels = [[[(each.tokens, each.macs) for each in stage.levels] for stage in x.stages] for x in (one, ppflow)]
    assert levels[0] == levels[1]
    assert 0 < 1 - one.macs / ppflow.macs < limit
    coarse = [next(each.macs for each in x.stages[0].parts if each.kind == "patch_embedder") for x in (one, ppflow)]
    assert coarse[1] == 4 * coarse[0]  # PPFlow's tokens are of 4 x 4 pixels
    assert one.stages[1].macs == ppflow.stages[1].macs


def test_parameters_are_those_of_one_patch():
    """SiT-B's, and another table of positions."""
    assert cost("pyramid_b_2").params.total - cost("sit_b").params.total == 64 * 768


def test_an_image_takes_as_many_passes_in_each_stage():
    image = cost("pyramid_b_2").image
    assert image.passes == (250, 250)  # Heun's, two an update
    assert image.macs == 250 * sum(stage.macs for stage in cost("pyramid_b_2").stages)


def test_levels_of_mpdit_are_in_each_stage():
    stages = cost("pyramid_mpdit_b").stages
    assert [[(each.image_tokens, each.blocks) for each in stage.levels] for stage in stages] == [
        [(16, 6), (64, 6)],
        [(64, 6), (256, 6)],
    ]
    assert stages[1].macs == cost("mpdit_b").stages[0].macs


@pytest.mark.parametrize("name", ["pyramid_b_2", "pyramid_digits"])
def test_without_renoising_all_else_is_the_same(name):
    def values(which: str) -> dict[str, Any]:
        found = zoo.load_recipe(RECIPES / f"{which}.yaml", registry=REGISTRY).resolved()
        return {section: found[section] for section in ("backbone", "objective", "train", "sample", "data")}

    one, other = values(name), values(f"{name}_no_renoising")
    assert one["objective"]["path"] == {"type": "pyramid", "renoising": "correlated"}
    assert other["objective"].pop("path") == {"type": "pyramid", "renoising": "none"}
    one["objective"].pop("path")
    assert one == other
