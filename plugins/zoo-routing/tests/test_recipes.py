"""Recipes cost what they should, in training and in sampling, and train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import zoo
from zoo.cli import app
from zoo_routing.maskdit import BridgeBlock, KeptSquaredError, MaskedReconstruction, ZeroNull
from zoo_routing.routers import MaskDiT, Sprint

RECIPES = Path(str(files("zoo_routing.recipes")))
REGISTRY = zoo.Registry().with_parts([BridgeBlock, KeptSquaredError, MaskDiT, MaskedReconstruction, Sprint, ZeroNull])
MODULES = [f"--parts={RECIPES.parent / module}.py" for module in ("maskdit", "routers")]
NAMES = {"maskdit_digits", "maskdit_xl", "mpdit_b_tread", "sit_b_tread", "sit_xl_sprint"}


def cost(name, **changed):
    return zoo.cost(RECIPES / f"{name}.yaml", changed, registry=REGISTRY)


def block(width, tokens):
    """Multiply-adds of a DiT block but for its modulation."""
    return tokens * 12 * width**2 + 2 * tokens**2 * width


def test_all_recipes_are_here():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == NAMES


def test_maskdit_xl_is_as_large_as_computed_from_its_layers():
    wide, narrow, tokens, depth, after = 1152, 512, 256, 28, 8
    found = cost("maskdit_xl")
    linear = lambda i, o: i * o + o  # noqa: E731

    def weights(dim):
        return (
            linear(dim, 3 * dim)
            + linear(dim, dim)
            + linear(dim, 4 * dim)
            + linear(4 * dim, dim)
            + linear(wide, 6 * dim)
        )

    encoder = depth * weights(wide) + linear(16, wide) + linear(256, wide) + linear(wide, wide) + 1000 * wide
    bridge = linear(wide, 2 * wide) + linear(wide, narrow)
    decoder = after * weights(narrow) + narrow
    head = linear(wide, 2 * narrow) + linear(narrow, 16)
    tables = tokens * (wide + narrow)
    assert tables == 425_984
    assert found.params.total == encoder + bridge + decoder + head + tables
    assert f"{found.params.total / 1e6:.3f}" == "730.541"


@pytest.mark.parametrize(("kept", "printed"), [(256, "125.775"), (128, "65.450"), (64, "36.081")])
def test_maskdit_xl_costs_as_much_as_computed_from_its_layers(kept, printed):
    """The other computation has labels as a product with 1,000 numbers, and embeds no patch that is left out."""
    wide, narrow, tokens, depth, after = 1152, 512, 256, 28, 8
    (stage,) = cost("maskdit_xl", **{"backbone.router.share": 1 - kept / tokens} if kept < tokens else {}).stages
    found = stage.macs if kept == tokens else stage.training_macs
    steering = depth * 6 * wide**2 + 2 * wide**2 + after * 6 * narrow * wide + 2 * narrow * wide
    expected = depth * block(wide, kept) + kept * wide * narrow + after * block(narrow, tokens) + steering
    expected += tokens * 16 * (wide + narrow) + 256 * wide + wide**2
    assert found == expected
    assert f"{(found + 1000 * wide - (tokens - kept) * 16 * wide) / 1e9:.3f}" == printed


@pytest.mark.parametrize(
    ("name", "plain", "width", "blocks", "tokens", "kept"),
    [("sit_b_tread", "sit_b", 768, 6, 256, 128), ("mpdit_b_tread", "mpdit_b", 768, 4, 272, 144)],
)
def test_tread_saves_its_blocks_work_on_half_of_the_tokens_in_training_alone(name, plain, width, blocks, tokens, kept):
    own, other = cost(name), zoo.cost(plain)
    assert (own.macs, own.params.total) == (other.macs, other.params.total)
    saved = other.macs - sum(stage.training_macs for stage in own.stages)
    assert saved == blocks * (block(width, tokens) - block(width, kept))


def test_sprint_adds_a_linear_and_saves_three_quarters_of_the_tokens_of_the_middle():
    own, plain, width = cost("sit_xl_sprint"), zoo.cost("sit_xl"), 1152
    fuse = 256 * 2 * width**2
    assert own.macs == plain.macs + fuse
    assert own.params.total == plain.params.total + 2 * width**2 + 2 * width
    saved = own.macs - sum(stage.training_macs for stage in own.stages)
    assert saved == 24 * (block(width, 256) - block(width, 64))


STAGES = [{"noise_above": 0.5, "patch": 4}, {"noise_above": 0.0, "patch": 2}]
LEVELS = [{"patch": 4, "blocks": 2}, {"patch": 2, "blocks": 4}]
SCHEDULES = {
    "mpdit": {"type": "by_depth", "levels": LEVELS},
    "ppflow": {"type": "by_timestep", "stages": STAGES},
    "hybrid": {
        "type": "by_depth_and_timestep",
        "stages": [
            {"noise_above": 0.5, "levels": [{"patch": 8, "blocks": 2}, {"patch": 4, "blocks": 4}]},
            {"noise_above": 0.0, "levels": LEVELS},
        ],
    },
}
TOKENS = {"mpdit": [64], "ppflow": [16, 64], "hybrid": [16, 64]}
"""Of the level that blocks 2 and 3 are in, by stage."""


def small_of(schedule: str, router: str, **options) -> dict:
    latent = {"channels": 1, "height": 16, "width": 16}
    backbone = {"latent": latent, "num_classes": 10, "dim": 32, "depth": 6, "heads": 2}
    route = {"type": router, **options}
    return {"name": "small", "backbone": {**backbone, "patch_schedule": SCHEDULES[schedule], "router": route}}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("router", "options", "left"), [("tread", {"first": 2, "stop": 4}, 2), ("sprint", {}, 4)])
def test_routes_lie_in_a_level_of_every_stage(schedule, router, options, left):
    stages = zoo.cost(small_of(schedule, router, **options), registry=REGISTRY).stages
    saved = [2 * (block(32, tokens) - block(32, tokens // left)) for tokens in TOKENS[schedule]]
    assert [stage.macs - stage.training_macs for stage in stages] == saved


def test_maskdit_masks_the_patches_of_each_of_ppflows_stages():
    stages = zoo.cost(small_of("ppflow", "maskdit", stop=4), registry=REGISTRY).stages
    saved = [4 * (block(32, tokens) - block(32, tokens // 2)) for tokens in (16, 64)]
    assert [stage.macs - stage.training_macs for stage in stages] == saved


@pytest.mark.parametrize("schedule", ["mpdit", "hybrid"])
@pytest.mark.parametrize(
    ("router", "options"), [("maskdit", {"stop": 4}), ("tread", {"first": 1, "stop": 4}), ("sprint", {"before": 1})]
)
def test_a_route_into_a_level_is_refused(schedule, router, options):
    told = r"in stage 0 a level begins at block 2; let routes lie within a level"
    with pytest.raises(zoo.errors.RecipeError, match=told):
        zoo.load_recipe(small_of(schedule, router, **options), registry=REGISTRY)


ASKS = "asks which tokens a router leaves out"


@pytest.mark.parametrize("loss", ["kept_squared_error", "masked_reconstruction"])
@pytest.mark.parametrize(
    ("router", "options", "tap", "told"),
    [
        ("sprint", {}, 0, f"{ASKS}, which it does in blocks 2 to 3 alone, and taps block 0; tap one of these"),
        ("tread", {"first": 5, "stop": 6}, 3, f"{ASKS}, which it does in block 5 alone, and taps block 3"),
        ("none", {}, 0, f"{ASKS}, and there is none; take backbone.router, or a loss of all tokens"),
    ],
)
def test_a_loss_of_what_is_left_out_is_refused_where_it_would_not_hear_of_it(loss, router, options, tap, told):
    recipe = small_of("ppflow", router, **options)
    recipe["objective"] = {"losses": [{"type": loss, "tap": tap}]}
    with pytest.raises(zoo.errors.RecipeError, match=told):
        zoo.load_recipe(recipe, registry=REGISTRY)
    recipe["backbone"]["router"] = {"type": "tread", "first": tap, "stop": tap + 1}
    assert zoo.load_recipe(recipe, registry=REGISTRY)


SMALL = """
extends: {recipe}
backbone:
  latent: {{channels: 1, height: 16, width: 16}}
  num_classes: 10
  dim: 32
  heads: 2
{backbone}
data: {{dataset: digits, normalize: none, workers: 0}}
train: {{steps: 20, batch: 32, learning_rate: 2.0e-3, warmup: 0, log_every: 1, callbacks: [], precision: float32}}
sample: {{guidance: {{type: classifier_free, channels: null}}}}
"""
CHANGED = {
    "maskdit_xl": """
  depth: 5
  patch_schedule: {type: by_depth, levels: [{patch: 2, blocks: 3}, {patch: 2, blocks: 2, dim: 16, heads: 2}]}
  block: [{type: dit, blocks: 2}, {type: maskdit_bridge, blocks: 1}, {type: dit, blocks: 2}]
  router: {type: maskdit, stop: 3}
""",
    "sit_xl_sprint": """
  depth: 4
  router: {type: sprint, before: 1, behind: 1}
""",
    "mpdit_b_tread": """
  depth: 5
  patch_schedule: {type: by_depth, levels: [{patch: 4, blocks: 2}, {patch: 2, blocks: 3}]}
  router: {type: tread, first: 3, stop: 4}
""",
}


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def small(name: str, folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(SMALL.format(recipe=RECIPES / f"{name}.yaml", backbone=CHANGED[name].strip("\n")))
    return path


@pytest.mark.parametrize("name", CHANGED)
def test_the_loss_falls_a_run_goes_on_bit_by_bit_and_draws(tmp_path, monkeypatch, name):
    monkeypatch.setenv("ZOO_PLUGINS", "none")  # the parts come by their files
    recipe = small(name, tmp_path)

    def train(folder: str, *more: str) -> list[float]:
        command = ["train", "--recipe", str(recipe), "--run-dir", str(tmp_path / folder), *more, *MODULES]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        return losses(tmp_path / folder)

    whole = train("whole")
    assert len(whole) == 20
    assert sum(whole[-5:]) < 0.95 * sum(whole[:5])
    train("halves", "--set", "train.steps=10")
    assert train("halves", "--set", "train.steps=20", "--resume") == whole
    backbone = zoo.load(tmp_path / "whole", parts=[module.removeprefix("--parts=") for module in MODULES])
    drawn = zoo.sample(backbone, [3, 5], steps=1)
    assert torch.isfinite(drawn).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGED)
def test_two_processes_train_as_one(tmp_path, name):
    recipe, found = small(name, tmp_path), []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        command = [sys.executable, "-m", "zoo", "train", "--recipe", str(recipe), "--run-dir", str(folder)]
        command += ["--procs", str(processes), *MODULES]
        environment = {**os.environ, "ZOO_PLUGINS": "none", "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, timeout=200)
        found.append(losses(folder))
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert sum(found[1][-5:]) < 0.95 * sum(found[1][:5])
