"""Backbones of any shape: levels that go down and up, widths of their own, latents of any axes and sizes."""

import pytest
import torch

from tests.shapes import backbone_of, level, problems_of, recipe_of, run
from zoo.audit import audit

HOURGLASS = [level(2), level(4), level(2)]


@pytest.mark.parametrize("skip", ["linear", "none", "kept_add", "kept_concat"])
def test_an_hourglass_with_any_skip(skip):
    backbone = backbone_of(HOURGLASS, skip=skip)
    assert set(backbone.downsamplers) == {"2x2_to_4x4"}
    assert set(backbone.upsamplers) == set(backbone.skips) == {"4x4_to_2x2"}
    assert set(backbone.patch_embedders) == {"2x2"}
    assert run(backbone).shape == (3, 3, 8, 16)
    report = audit(recipe_of(HOURGLASS, skip=skip))
    assert [kept.grid for kept in report.stages[0].levels] == [(4, 8), (2, 4), (4, 8)]


@pytest.mark.parametrize("skip", ["kept_add", "kept_concat"])
def test_what_left_a_patch_comes_back_by_the_skip(skip):
    """Past the coarse level, of which nothing comes back here."""
    backbone = backbone_of(HOURGLASS, skip=skip, upsampler="linear", position="none")
    seen = []
    backbone.downsamplers["2x2_to_4x4"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 2:]))
    backbone.skips["4x4_to_2x2"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    run(backbone)
    assert torch.equal(*seen)


def test_a_deep_hourglass_keeps_what_left_each_patch():
    """The last one that left it: 2x2 comes twice on the way down."""
    levels = [level(1), level(2), level(2, dim=48), level(4, dim=48), level(2), level(1)]
    backbone = backbone_of(levels, skip="kept_concat")
    shapes = {}
    for name, skip in backbone.skips.items():
        skip.register_forward_hook(lambda _, inputs, output, name=name: shapes.update({name: inputs[1].shape[1:]}))
    run(backbone)
    assert shapes == {"4x4_to_2x2_24": (32, 48), "2x2_24_to_1x1": (128, 24)}
    assert audit(recipe_of(levels, skip="kept_concat")).macs > 0


WIDE = [level(4), level(4, dim=48), level(2, dim=48)]


def test_a_level_may_be_wider_also_at_an_equal_patch():
    backbone = backbone_of(WIDE)
    assert set(backbone.downsamplers) == {"4x4_24_to_4x4_48"}
    assert set(backbone.upsamplers) == {"4x4_48_to_2x2"}
    assert set(backbone.positions) == {"4x4_24", "4x4_48", "2x2"}
    assert set(backbone.heads) == {"2x2"}
    assert set(backbone.time_embedder) == set(backbone.class_conditioner) == {"24", "48"}
    assert [block.attention.heads for block in backbone.blocks] == [2, 4, 4]
    assert run(backbone).shape == (3, 3, 8, 16)
    assert [each.dim for each in audit(recipe_of(WIDE)).stages[0].levels] == [24, 48, 48]


def test_names_have_no_width_where_a_patch_has_one():
    backbone = backbone_of([level(4), level(2, dim=48)])
    assert set(backbone.upsamplers) == {"4x4_to_2x2"}
    assert set(backbone.positions) == {"4x4", "2x2"}


def test_a_level_may_have_heads_of_its_own():
    backbone = backbone_of([level(4), level(2, heads=4)])
    assert [block.attention.heads for block in backbone.blocks] == [2, 4]
    run(backbone)


@pytest.mark.parametrize("modulation", ["adaln_zero", "shared_adaln", "adaln_single"])
@pytest.mark.parametrize("condition", ["per_width", "shared"])
def test_the_condition_is_of_each_width_or_one_for_all(condition, modulation):
    levels = [level(4), level(2, dim=48), level(1)]
    backbone = backbone_of(levels, condition=condition, class_conditioner="embedding", modulation=modulation)
    assert backbone.shape.widths == ((24, 48) if condition == "per_width" else (24,))
    assert isinstance(backbone.time_embedder, torch.nn.ModuleDict) is (condition == "per_width")
    assert run(backbone).shape == (3, 3, 8, 16)


def test_a_shared_condition_has_no_tokens_for_other_widths():
    line = (
        "backbone.class_conditioner: puts tokens of width 24 in front, and there are levels of width 48; take"
        " backbone.condition: per_width"
    )
    assert problems_of([level(4), level(2, dim=48)], condition="shared") == [line]
    assert problems_of([level(2, dim=48)], condition="shared") == [line]


def test_tokens_in_front_are_replaced_where_the_width_changes():
    backbone = backbone_of(WIDE)
    seen = []
    for block in backbone.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0][0].tokens, inputs[0][0].layout.m)))
    run(backbone)
    labels = backbone.conditioner.example_labels(3)
    assert [m for _, m in seen] == [2, 2, 2]
    for (tokens, _), width in zip(seen[:2], ("24", "48"), strict=True):
        assert torch.equal(tokens[:, :2], backbone.class_conditioner[width](labels).tokens)


def test_each_width_has_its_condition_of_the_same_labels_once():
    backbone = backbone_of(WIDE)
    calls = []
    for width, conditioner in backbone.class_conditioner.items():
        conditioner.register_forward_pre_hook(lambda _, given, width=width: calls.append((width, given[0].tolist())))
    run(backbone)
    assert calls == [("24", [0, 1, 2]), ("48", [0, 1, 2])]


AXES = {
    1: ({"channels": 3, "size": [16]}, 4, 2),
    2: ({"channels": 3, "size": [8, 16]}, [4, 2], [2, 2]),
    3: ({"channels": 3, "size": [4, 4, 8]}, [2, 4, 4], [1, 2, 2]),
}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("position", ["sincos", "none", "rope", "learned"])
def test_latents_of_any_axes(axes, position):
    latent, coarse, fine = AXES[axes]
    given = {"latent": latent, "position": position, "dim": 48, "heads": 2}
    for levels in ([level(coarse), level(fine)], [level(fine), level(coarse), level(fine)]):
        backbone = backbone_of(levels, **given)
        assert run(backbone).shape == (3, 3, *latent["size"])
        report = audit(recipe_of(levels, **given))
        assert len(report.stages[0].levels[0].grid) == axes


SMALLER = [
    {"noise_above": 0.5, "scale": 2, "levels": [level(2, 2)]},
    {"noise_above": 0.0, "levels": [level(2, 2)]},
]


def test_a_stage_may_have_latents_of_its_own_size():
    backbone = backbone_of(stages=SMALLER)
    assert [backbone.latent_of(stage) for stage in (0, 1)] == [(3, 4, 8), (3, 8, 16)]
    assert [tuple(run(backbone, stage=stage).shape) for stage in (0, 1)] == [(3, 3, 4, 8), (3, 3, 8, 16)]
    assert set(backbone.positions) == {"2x2_of_4x8", "2x2_of_8x16"}
    assert set(backbone.patch_embedders) == set(backbone.heads) == {"2x2"}
    with pytest.raises(ValueError, match=r"^stage 0 has latents \[B, 3, 4, 8\] of its own size: call forward_stage$"):
        backbone(torch.zeros(1, *backbone.latent, dtype=torch.float64), torch.ones(1, dtype=torch.float64), None)


def test_a_smaller_stage_costs_less():
    small, whole = audit(recipe_of(stages=SMALLER)).stages
    assert [each.levels[0].grid for each in (small, whole)] == [(2, 4), (4, 8)]
    assert small.macs < whole.macs


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"levels": [level(4), level(2)], "skip": "kept_add"},
            "skip: kept_add: needs what left patch 2 on the way down, and stage 0 comes to 2 without having been there",
        ),
        (
            {"levels": [level(2), level(4), level(2, dim=48)], "skip": "kept_add"},
            "skip: kept_add: adds what was kept, of width 24, to tokens of width 48; take kept_concat",
        ),
        (
            {"levels": [level(4, dim=25)]},
            "patch_schedule.levels.0.dim: block.attention: softmax: dim 25 is not divisible by heads 2; give the level"
            " other heads, or another dim",
        ),
        (
            {"levels": [level(4), level(4, dim=25)]},
            "patch_schedule.levels.1.dim: position: sincos: dim 25 is not divisible by 4: take a multiple of it, for a"
            " sine and a cosine of every axis",
        ),
        (
            {"levels": [level(4), level(2, heads=5)]},
            "patch_schedule.levels.1.heads: block.attention: softmax: dim 24 is not divisible by heads 5; give the"
            " level other heads, or another dim",
        ),
        (
            {"stages": [{"noise_above": 0.0, "levels": [level(4), level(2, dim=50)]}]},
            "patch_schedule.stages.0.levels.1.dim: block.attention: softmax: dim 50 is not divisible by heads 4; give"
            " the level other heads, or another dim",
        ),
    ],
)
def test_what_a_shape_cannot_be_is_told_in_one_line_at_its_key(given, expected):
    given = {"class_conditioner": "embedding", **given}
    found = problems_of(given.pop("levels", None), **given)
    assert f"backbone.{expected}" in found
