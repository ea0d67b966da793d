"""The report adds up, and says what issue it must."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.closed_form import closed_form_macs
from zoo.assembly import build, load_recipe
from zoo.audit import Audit, audit, audit_backbone, count_params, count_stage
from zoo.backbone import Backbone
from zoo.kinds import BACKBONE_KINDS, KINDS
from zoo.parts.blocks import DiTBlock
from zoo.parts.values import Declared
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.testing import load_or_pass, recipes

REGISTRY = Registry()

LEVELS = [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 2}]
COARSER = [{"patch": 8, "blocks": 2}, {"patch": 4, "blocks": 1}]
SCHEDULES: dict[str, dict[str, Any]] = {
    "uniform": {"type": "uniform", "patch": 2},
    "by_depth": {"type": "by_depth", "levels": LEVELS},
    "by_timestep": {
        "type": "by_timestep",
        "stages": [{"noise_above": 0.3, "patch": 8}, {"noise_above": 0.1, "patch": 4}, {"noise_above": 0, "patch": 2}],
    },
    "by_depth_and_timestep": {
        "type": "by_depth_and_timestep",
        "stages": [{"noise_above": 0.7, "levels": COARSER}, {"noise_above": 0.0, "levels": LEVELS}],
    },
}


def recipe_of(schedule: str, **parts: Any) -> Recipe:
    backbone = {
        "latent": {"channels": 4, "height": 16, "width": 8},
        "num_classes": 10,
        "dim": 24,
        "depth": 3,
        "heads": 2,
        "patch_schedule": SCHEDULES[schedule],
        "time_embedder": "fno",
        "class_conditioner": {"type": "class_tokens", "tokens": 3},
        **parts,
    }
    return load_recipe({"name": schedule, "backbone": backbone}, registry=REGISTRY)


def built(recipe: Recipe) -> Backbone:
    return build(recipe, registry=REGISTRY, device="meta")


@cache
def report_of(schedule: str) -> Audit:
    return audit(recipe_of(schedule))


each_schedule = pytest.mark.parametrize("schedule", SCHEDULES)


@each_schedule
def test_parameters_add_up(schedule: str) -> None:
    params = report_of(schedule).params
    backbone = built(recipe_of(schedule))
    assert params.total == params.trainable + params.fixed
    assert params.trainable == sum(parameter.numel() for parameter in backbone.parameters())
    assert params.fixed == sum(table.numel() for table in backbone.buffers()) > 0
    assert params.total == sum(part.params for part in report_of(schedule).parts)


def test_frozen_parameters_are_fixed() -> None:
    recipe = recipe_of("by_depth")
    backbone = built(recipe)
    before = count_params(backbone)
    frozen = backbone.blocks[0].requires_grad_(False)
    own = sum(parameter.numel() for parameter in frozen.parameters())
    after = audit_backbone(backbone, recipe)
    assert after.params.total == before.total
    assert after.params.fixed == before.fixed + own
    assert after.params.trainable == before.trainable - own
    assert after.macs == report_of("by_depth").macs


@each_schedule
def test_parts_add_up_in_every_stage(schedule: str) -> None:
    backbone = built(recipe_of(schedule))
    for stage in range(len(backbone.stages)):
        counted = count_stage(backbone, stage)
        names = [KINDS[kind].where for kind in BACKBONE_KINDS]
        assert counted.macs == sum(counted.modules.get(name, 0) for name in names if name)


@each_schedule
def test_parts_are_means(schedule: str) -> None:
    """Each is rounded by itself, so that together they may miss the mean by half a multiply-add each."""
    report = report_of(schedule)
    assert [part.kind for part in report.parts] == list(BACKBONE_KINDS)
    assert abs(sum(part.macs for part in report.parts) - report.macs) <= (len(report.parts) - 1) / 2
    if len(report.stages) == 1:
        assert sum(part.macs for part in report.parts) == report.macs
    assert all(part.plugin == "zoo" for part in report.parts)


@each_schedule
def test_stages_share_the_noise_levels(schedule: str) -> None:
    stages = report_of(schedule).stages
    assert sum(stage.share for stage in stages) == pytest.approx(1.0, abs=1e-15)
    assert (stages[0].noise[1], stages[-1].noise[0]) == (1.0, 0.0)
    for noisier, cleaner in pairwise(stages):
        assert noisier.noise[0] == cleaner.noise[1]
    for stage in stages:
        assert stage.share == pytest.approx(stage.noise[1] - stage.noise[0])


@settings(max_examples=10)
@given(thresholds=st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True))
def test_mean_is_exact(thresholds: list[int]) -> None:
    """Hundredths are exact in decimal and not in binary; the mean is that of the decimal numbers."""
    lows = [*sorted(thresholds, reverse=True), 0]
    patches = [8, 4, 2, [4, 2]]
    stages = [{"noise_above": low / 100, "patch": patch} for low, patch in zip(lows, patches, strict=False)]
    recipe = recipe_of("by_timestep", depth=1, patch_schedule={"type": "by_timestep", "stages": stages})
    report = audit(recipe)
    weights = [Fraction(high - low, 100) for low, high in zip(lows, [100, *lows], strict=False)]
    costs = closed_form_macs(recipe)
    mean = sum(weight * macs for weight, macs in zip(weights, costs, strict=True))
    assert report.macs == round(mean)
    assert report.norm_ops == round(sum(w * s.norm_ops for w, s in zip(weights, report.stages, strict=True)))
    assert [stage.share for stage in report.stages] == [float(weight) for weight in weights]


@each_schedule
def test_levels_are_those_of_the_blocks(schedule: str) -> None:
    report = report_of(schedule)
    recipe = recipe_of(schedule)
    dim, m = recipe.backbone.dim, 3
    for stage in report.stages:
        assert sum(level.blocks for level in stage.levels) == recipe.backbone.depth
        for level in stage.levels:
            assert level.grid == (16 // level.patch[0], 8 // level.patch[1])
            assert level.image_tokens == level.grid[0] * level.grid[1]
            assert level.tokens == level.image_tokens + level.prefix_tokens == level.image_tokens + m
            of_one = 12 * level.tokens * dim * dim + 2 * level.tokens**2 * dim
            assert level.macs == level.blocks * of_one
    blocks = next(part for part in report.parts if part.kind == "block")
    mean = sum(stage.share * level.macs for stage in report.stages for level in stage.levels)
    assert blocks.macs == pytest.approx(mean, abs=1)


@each_schedule
def test_attention_is_part_of_the_blocks(schedule: str) -> None:
    for stage in report_of(schedule).stages:
        expected = sum(2 * level.blocks * level.tokens**2 * 24 for level in stage.levels)
        assert stage.attention_macs == expected


def test_paper_convention_charges_every_block_at_the_finest_patch() -> None:
    report = report_of("by_depth")
    (stage,) = report.stages
    assert report.paper_convention.macs == report.macs - stage.attention_macs + 3 * 2 * 32**2 * 24


class Mixes(DiTBlock):
    """A block in which tokens are mixed without attention."""

    def forward_stage(self, tokens: Any, vectors: Any, layout: Any, *taken: Any) -> Any:
        return tokens + tokens.cumsum(dim=1) + self.mlp(tokens)


class DeclaresAttention(DiTBlock):
    """A block whose attention is in a kernel that does not trace."""

    def declare(self, groups: Any) -> Declared:
        return Declared([group.tokens.clone() for group in groups], macs=5000, attention_macs=3000)


def test_paper_convention_charges_nothing_to_blocks_that_do_not_attend() -> None:
    recipe = recipe_of("by_depth", modulation="shared_adaln")
    backbone = built(recipe)
    backbone.blocks[1] = Mixes(24, 2).to("meta")
    report = audit_backbone(backbone, recipe)
    (stage,) = report.stages
    assert report.paper_convention.macs == report.macs - stage.attention_macs + 2 * 2 * 32**2 * 24


def test_paper_convention_charges_blocks_that_declare_their_attention() -> None:
    recipe = recipe_of("by_depth")
    backbone = built(recipe)
    backbone.blocks[1] = DeclaresAttention(24, 2).to("meta")
    report = audit_backbone(backbone, recipe)
    (stage,) = report.stages
    plain = count_stage(built(recipe), 0)
    assert stage.attention_macs == plain.attention_macs - plain.attention["blocks.1"] + 3000
    assert report.paper_convention.macs == report.macs - stage.attention_macs + 3 * 2 * 32**2 * 24


@each_schedule
def test_paper_convention_is_for_one_stage(schedule: str) -> None:
    assert (report_of(schedule).paper_convention.macs is None) == (len(report_of(schedule).stages) > 1)


@pytest.mark.parametrize(
    ("recipe", "printed"), [("dit_s", 6.06), ("dit_b", 23.02), ("dit_l", 80.73), ("dit_xl", 118.66)]
)
def test_torchprofile_charges_elementwise_products_too(recipe: str, printed: float) -> None:
    """What DiG's, DiCo's and MPDiT's tables print of DiT, of which its own table has less."""
    loaded = load_recipe(recipe)
    report, backbone = audit(loaded), loaded.backbone
    blocks = 5 * backbone.depth * 256 * backbone.dim  # queries by their scale, two modulations, two gates
    charged = report.torchprofile_convention.macs
    assert charged is not None
    assert (
        0 <= charged - report.macs - blocks - 256 * backbone.dim < 2000
    )  # the head's modulation, and t by frequencies
    assert round(charged / 1e9, 2) == printed


def test_torchprofile_charges_norms_with_a_weight() -> None:
    plain, weighed = (
        audit(recipe_of("by_depth", block={"type": "dit", "norm": {"type": "layer", "affine": affine}}))
        for affine in (False, True)
    )
    tokens = sum(level.blocks * level.tokens for level in plain.stages[0].levels)
    assert weighed.torchprofile_convention.macs - plain.torchprofile_convention.macs == 2 * tokens * 24


def test_torchprofile_is_not_known_of_what_declares_its_own_count() -> None:
    recipe = recipe_of("by_depth")
    backbone = built(recipe)
    backbone.blocks[1] = DeclaresAttention(24, 2).to("meta")
    assert audit_backbone(backbone, recipe).torchprofile_convention.macs is None


@each_schedule
def test_json(schedule: str) -> None:
    """The keys that the command line promises, whole numbers where it says so, and the same after a round trip."""
    report = report_of(schedule).to_dict()
    told = json.loads(json.dumps(report))
    assert told["recipe"] == schedule
    assert told.keys() >= {"recipe", "params", "macs", "flops", "norm_ops", "stages", "parts", "paper_convention"}
    assert told["params"].keys() >= {"total", "trainable", "fixed"}
    assert told["flops"] == 2 * told["macs"]
    assert told["paper_convention"].keys() == {"macs"}
    counts = [told["macs"], told["flops"], told["norm_ops"], *told["params"].values()]
    for stage in told["stages"]:
        assert stage.keys() >= {"noise", "share", "macs", "levels"}
        assert len(stage["noise"]) == 2
        counts.append(stage["macs"])
        for level in stage["levels"]:
            assert level.keys() >= {"patch", "grid", "tokens", "blocks", "macs"}
            counts += [*level["patch"], *level["grid"], level["tokens"], level["blocks"], level["macs"]]
    for part in told["parts"]:
        assert part.keys() >= {"kind", "type", "plugin", "params", "macs"}
        counts += [part["params"], part["macs"]]
    assert {type(count) for count in counts} == {int}
    assert told["paper_convention"]["macs"] is None or type(told["paper_convention"]["macs"]) is int


def test_auditing_a_recipe_is_auditing_its_backbone() -> None:
    recipe = recipe_of("by_depth_and_timestep")
    assert audit(recipe) == audit_backbone(built(recipe), recipe)


@settings(max_examples=15)
@given(values=recipes(REGISTRY))
def test_any_assembly_adds_up(values: dict[str, Any]) -> None:
    report = audit(load_or_pass(values, REGISTRY))
    assert report.params.total == sum(part.params for part in report.parts)
    assert abs(sum(part.macs for part in report.parts) - report.macs) <= (len(report.parts) - 1) / 2
    for stage in report.stages:
        assert sum(level.macs for level in stage.levels) <= stage.macs


@pytest.mark.parametrize(
    ("sample", "passes"),
    [
        ({"solver": "euler", "steps": 10}, (7, 2, 1)),
        ({"solver": {"type": "euler", "shift": 3.0}, "steps": 10}, (9, 1, 0)),
        ({"solver": {"type": "euler", "shift": 0.5}, "steps": 10}, (6, 3, 1)),
        ({"solver": "euler", "steps": 10, "guidance": [1.0, 2.0, 3.0]}, (7, 4, 2)),
        ({"solver": "heun", "steps": 1}, (1, 0, 1)),
        ({"solver": "dopri5"}, None),
    ],
)
def test_an_image_costs_its_passes(sample: dict[str, Any], passes: tuple[int, ...] | None) -> None:
    plain = recipe_of("by_timestep").resolved()
    recipe = load_recipe({**plain, "sample": sample}, registry=REGISTRY)
    report = audit_backbone(built(recipe), recipe)
    if passes is None:
        assert report.image.macs is None
    else:
        assert report.image.macs == sum(
            count * stage.macs for count, stage in zip(report.image.passes or (), report.stages, strict=True)
        )
    assert report.image.passes == passes
    assert json.loads(json.dumps(report.to_dict()))["image"]["steps"] == recipe.sample.steps


@pytest.mark.parametrize(
    ("guidance", "words", "passes"),
    [
        (1.5, "guidance 1.5", (14, 4, 2)),
        ([1.5, 2.0, 2.0], "guidance 1.5 and 2", (14, 4, 2)),
        ({"type": "apg", "scale": 2.0, "interval": [0.0, 0.5]}, "apg 2", None),
        ({"type": "autoguidance", "scale": 2}, "autoguidance 2, its other weights' passes not counted", (7, 2, 1)),
        ({"type": "autoguidance"}, "autoguidance 1", (7, 2, 1)),
    ],
)
def test_guidance_in_words(guidance: Any, words: str, passes: tuple[int, ...] | None) -> None:
    plain = recipe_of("by_timestep").resolved()
    sample = {"solver": "euler", "steps": 10, "guidance": guidance}
    recipe = load_recipe({**plain, "sample": sample}, registry=REGISTRY)
    image = audit_backbone(built(recipe), recipe).image
    assert image.words == f"10 updates by euler, {words}"
    assert passes is None or image.passes == passes
