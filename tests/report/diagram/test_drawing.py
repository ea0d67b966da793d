"""Drawings of assemblies: whole, in proportion, inside their page, legible in both themes, and the same every time."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.diagram.drawn import (
    ASSEMBLIES,
    IDS,
    SVG,
    assembly,
    boxes,
    drawn,
    levels_of,
    misplaced,
    points_of,
    texts,
)
from tests.shapes import recipe_of
from tests.weights.small import of_axes
from zoo.audit import audit
from zoo.audit.parts import PartAudit
from zoo.audit.report import LevelAudit, StageAudit
from zoo.report.diagram import diagram
from zoo.report.diagram.words import TIMES, TO, sizes

# -- what is there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "overrides"), ASSEMBLIES, ids=IDS)
def test_every_stage_and_level_is_there(name, overrides):
    found, recipe = assembly(name, overrides)
    root = drawn(found, recipe)
    shown = boxes(root, "level")
    assert len(boxes(root, "stage")) == len(found.stages)
    assert len(shown) == len(levels_of(found))
    for group, level in zip(shown, levels_of(found), strict=True):
        patch, tokens, blocks, _ = (text.text for text in texts(group))
        m = f"{level.prefix_tokens} + {level.image_tokens} = " if level.prefix_tokens else ""
        assert patch == f"patch {sizes(*level.patch)} · grid {sizes(*level.grid)}"
        assert tokens == f"{m}{level.tokens} tokens"
        assert blocks.startswith(f"{level.blocks} block")
        assert f"{level.macs:,} multiply-adds" in group.find(f"{SVG}title").text
    for index, stage in enumerate(found.stages):
        column = boxes(root, "stage")[index]
        assert texts(column)[0].text == f"Noise levels {stage.noise[0]:g} to {stage.noise[1]:g}"
        nodes = [texts(node)[0].text for node in boxes(column, "node")]
        assert nodes.count("upsampler") == len(stage.levels) - 1
        latent = recipe.backbone.latent
        shape = sizes(latent.channels, *latent.size)
        assert (nodes[0], nodes[-1]) == (f"latent {shape}", f"{recipe.backbone.prediction} {shape}")
        assert nodes.count(f"{stage.levels[0].prefix_tokens} tokens in front") == (stage.levels[0].prefix_tokens > 0)


@pytest.mark.parametrize(
    ("size", "shape", "levels"),
    [
        ((64,), "4x64", ["patch 4 · grid 16", "patch 2 · grid 32"]),
        ((8, 16, 16), "4x8x16x16", ["patch 1x4x4 · grid 8x4x4", "patch 1x2x2 · grid 8x8x8"]),
    ],
    ids=["one axis", "three axes"],
)
def test_latents_of_other_axes_are_drawn(size, shape, levels):
    found, recipe = assembly("mpdit_b", ())
    stage = found.stages[0]
    resized = []
    for level, side in zip(stage.levels, (4, 2), strict=True):
        patch = (side,) if len(size) == 1 else (1, side, side)
        grid = tuple(length // pixels for length, pixels in zip(size, patch, strict=True))
        resized.append(replace(level, patch=patch, grid=grid))
    found = replace(found, stages=(replace(stage, levels=tuple(resized)),))
    root = drawn(found, of_axes(recipe, *size))
    assert [texts(group)[0].text.replace(TIMES, "x") for group in boxes(root, "level")] == levels
    nodes = [texts(node)[0].text.replace(TIMES, "x") for node in boxes(root, "node")]
    assert (nodes[0], nodes[-1]) == (f"latent {shape}", f"velocity {shape}")
    colours = [next(group.iter(f"{SVG}rect")).get("class") for group in boxes(root, "level")]
    assert len(set(colours)) == 2


def test_every_stage_has_latents_of_its_own_size():
    levels = [{"patch": 2, "blocks": 2}]
    recipe = recipe_of(
        stages=[{"noise_above": 0.5, "levels": levels, "scale": 2}, {"noise_above": 0.0, "levels": levels}]
    )
    nodes = [texts(node)[0].text for node in boxes(drawn(audit(recipe), recipe), "node")]
    for size in ((4, 8), (8, 16)):
        assert {f"latent {sizes(3, *size)}", f"velocity {sizes(3, *size)}"} <= set(nodes)


def test_blocks_are_numbered_and_stages_share_them():
    shown = [texts(group)[2].text for group in boxes(drawn(*assembly("hybrid_b")), "level")]
    assert shown == [f"6 blocks (1{TO}6)", f"6 blocks (7{TO}12)"] * 2


def test_a_skip_is_drawn_where_there_is_one():
    with_skip, without = (
        " ".join(text.text for text in texts(drawn(*assembly("mpdit_b", overrides))))
        for overrides in ((), ASSEMBLIES[-1][1])
    )
    assert "skip: linear" in with_skip
    assert "skip:" not in without


def test_parts_are_named_once_and_unused_ones_not_at_all():
    for name, unused in (("dit_b", {"upsampler", "skip"}), ("hybrid_b", set())):
        unused = unused | {"downsampler", "router"}
        found, recipe = assembly(name)
        shown = boxes(drawn(found, recipe), "part")
        assert [texts(cell)[1].text for cell in shown] == [
            part.type for part in found.parts if part.kind not in unused
        ]  # none of them shortened


def test_levels_that_go_down_and_up_at_two_widths():
    levels = "[{patch: 2, blocks: 1}, {patch: 4, blocks: 1, dim: 32}, {patch: 2, blocks: 1}]"
    size = ["backbone.dim=16", "backbone.heads=2", "backbone.depth=3", "backbone.skip=kept_concat"]
    found, recipe = assembly("dit_b", (*size, f"backbone.patch_schedule={{type: by_depth, levels: {levels}}}"))
    root = drawn(found, recipe)
    assert misplaced(root) == []
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert words.count("downsampler") == 2  # on the way, and among the parts
    assert "skip: kept_concat" in words
    assert [word for word in words if word.startswith("patch 4")] == [f"patch 4{TIMES}4 · grid 8{TIMES}8 · width 32"]


def test_it_is_accessible():
    root = drawn(*assembly("hybrid_b"))
    assert root.get("role") == "img"
    assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text.startswith("hybrid_b")
    assert "12,232,949,760 multiply-adds" in root[1].text


def test_the_same_recipe_gives_the_same_text():
    found, recipe = assembly("digits_hybrid")
    assert diagram(found, recipe) == diagram(*assembly.__wrapped__("digits_hybrid"))
    assert diagram(found, recipe) != diagram(*assembly("mpdit_b"))


# -- widths ---------------------------------------------------------------------------------------------------------


def out_of_proportion(root, found):
    """Levels whose box is not as wide as their share of the multiply-adds of the most expensive level."""
    sizes = [{float(rect.get("width")) for rect in group.iter(f"{SVG}rect")} for group in boxes(root, "level")]
    macs = np.array([level.macs for level in levels_of(found)], dtype=float)
    widths = np.array([max(each) for each in sizes])
    wrong = np.abs(widths / widths.max() - macs / macs.max()) > 0.01 / widths.max()  # to a hundredth of a pixel
    return [index for index, each in enumerate(sizes) if wrong[index] or len(each) > 1]


@pytest.mark.parametrize(("name", "overrides"), ASSEMBLIES, ids=IDS)
def test_widths_are_in_proportion_to_multiply_adds(name, overrides):
    found, recipe = assembly(name, overrides)
    assert out_of_proportion(drawn(found, recipe), found) == []


def test_equal_widths_are_caught():
    found, recipe = assembly("hybrid_b")
    root = drawn(found, recipe)
    for group in boxes(root, "level"):
        for rect in group.iter(f"{SVG}rect"):
            rect.set("width", "100")
    assert out_of_proportion(root, found) == [0, 1, 2]


def test_the_scale_bar_is_on_the_scale_of_the_boxes():
    found, recipe = assembly("hybrid_b")
    root = drawn(found, recipe)
    (legend,) = boxes(root, "legend")
    (x0, _), (x1, _) = points_of(next(legend.iter(f"{SVG}polyline")))
    assert texts(legend)[0].text.startswith("2 G MACs")
    widest = max(float(rect.get("width")) for group in boxes(root, "level") for rect in group.iter(f"{SVG}rect"))
    assert (x1 - x0) / widest == pytest.approx(2e9 / 12_232_949_760, abs=1e-4)


def test_the_dark_part_of_a_box_is_the_share_of_the_tokens_in_front():
    found, recipe = assembly("hybrid_b")
    for group, level in zip(boxes(drawn(found, recipe), "level"), levels_of(found), strict=True):
        image, own = (float(rect.get("height")) for rect in group.iter(f"{SVG}rect"))
        assert own / (image + own) == pytest.approx(level.prefix_tokens / level.tokens, abs=1e-3)


@pytest.mark.parametrize(("name", "overrides"), ASSEMBLIES, ids=IDS)
def test_nothing_leaves_the_page_or_lies_on_text(name, overrides):
    assert misplaced(drawn(*assembly(name, overrides))) == []


@pytest.mark.parametrize("change", [{"x": "900"}, {"y": "-5"}, {"font-size": "60"}])
def test_a_text_that_leaves_its_place_is_caught(change):
    root = drawn(*assembly("hybrid_b"))
    text = texts(boxes(root, "level")[-1])[1]
    for name, value in change.items():
        text.set(name, value)
    assert misplaced(root)


@st.composite
def audits(draw):
    """Audits of any shape and cost, with long names."""
    found, _ = assembly("hybrid_b")
    whole, m = st.integers(10, 10**13), draw(st.integers(0, 4096))
    name = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80)
    thresholds = [1.0, *sorted(draw(st.sets(st.floats(0.001, 0.999), max_size=4)), reverse=True), 0.0]
    stages = []
    for high, low in pairwise(thresholds):
        side = draw(st.sampled_from([1, 3, 64, 256]))
        levels = tuple(
            LevelAudit(
                (2**k, side),
                draw(st.integers(1, 65536)),
                (side, 2**k),
                m + side * 2**k,
                side * 2**k,
                m,
                k + 1,
                draw(whole),
            )
            for k in range(draw(st.integers(1, 7)), 0, -1)
        )
        macs = sum(level.macs for level in levels) + draw(whole)
        stages.append(StageAudit((low, high), high - low, macs, macs, 0, 0, levels, ()))
    parts = tuple(PartAudit(part.kind, draw(name), draw(name), draw(whole), draw(whole)) for part in found.parts)
    return replace(found, stages=tuple(stages), parts=parts, macs=draw(whole))


@settings(max_examples=40)
@given(audits())
def test_any_audit_can_be_drawn(found):
    _, recipe = assembly("hybrid_b")
    root = drawn(found, recipe)
    assert misplaced(root) == []
    assert out_of_proportion(root, found) == []


def test_blocks_that_cost_nothing_can_be_drawn():
    found, recipe = assembly("dit_b")
    stage = found.stages[0]
    free = replace(found, stages=(replace(stage, levels=(replace(stage.levels[0], macs=0),)),))
    (level,) = boxes(drawn(free, recipe), "level")
    assert {rect.get("width") for rect in level.iter(f"{SVG}rect")} == {"0"}
