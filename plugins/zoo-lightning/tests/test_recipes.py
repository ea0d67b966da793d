"""Every recipe is as large as published, and by the closed form of its formulas, and costs as much."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import zoo
from zoo.cli import app
from zoo_lightning.block import LightningBlock

RECIPES = Path(str(files("zoo_lightning.recipes")))
REGISTRY = zoo.Registry().with_parts([LightningBlock])
TOKENS = 256  # of every published model

Changes = tuple[tuple[str, Any], ...]


@cache
def cost(name: str, changed: Changes = ()) -> Any:
    return zoo.cost(RECIPES / f"{name}.yaml", {key: json.loads(value) for key, value in changed}, registry=REGISTRY)


def changes(**values: Any) -> Changes:
    """Of the backbone."""
    return tuple((f"backbone.{key}", json.dumps(value)) for key, value in values.items())


def closed_form(dim: int, depth: int, pixels: int) -> tuple[int, int]:
    """Weights, and multiply-adds; ``pixels``: of a token, in all channels."""
    hidden = int(2 / 3 * 4 * dim)
    matrices = 4 * dim**2 + 3 * dim * hidden
    block = matrices + (4 * dim + 2 * hidden + dim) + (6 * dim**2 + 6 * dim) + 2 * dim  # biases, modulation, norms
    condition = 256 * dim + dim + dim**2 + dim + 1001 * dim
    head = 2 * dim**2 + 2 * dim + dim + (dim * pixels + pixels)
    macs = depth * (TOKENS * matrices + 2 * TOKENS**2 * dim + 6 * dim**2)
    macs += 2 * TOKENS * pixels * dim + (256 * dim + dim**2) + 2 * dim**2
    return depth * block + (pixels * dim + dim) + condition + head, macs


SD = changes(latent={"channels": 4, "height": 32, "width": 32}, patch_schedule={"type": "uniform", "patch": 2})
PUBLISHED = [
    # recipe, what differs, parameters with the fixed table (M), width, blocks, pixels of a token
    ("lightning_b", (), "130.556", (768, 12, 32)),
    ("lightning_l", SD, "458.120", (1024, 24, 16)),
    ("lightning_xl", (), "675.257", (1152, 28, 32)),
    ("lightning_xl", changes(dim=1536, depth=24, heads=24), "1029.401", (1536, 24, 32)),
    ("lightning_xl", changes(dim=1792, depth=28, heads=28), "1631.767", (1792, 28, 32)),
]


@pytest.mark.parametrize(("name", "changed", "parameters", "form"), PUBLISHED)
def test_published_models_are_as_large(name, changed, parameters, form):
    counted = cost(name, changed)
    assert (counted.params.trainable, counted.macs) == closed_form(*form)
    assert f"{(counted.params.trainable + TOKENS * form[0]) / 1e6:.3f}" == parameters


def test_the_released_model_costs_what_it_does():
    released = cost("lightning_xl")
    assert released.macs == 118_626_140_160
    assert released.params.trainable == 675_256_736 - TOKENS * 1152
    assert released.params.total == 675_256_736 + 2 * TOKENS * 72  # the cosines and sines of a head's angles


SLOTS = {"type": "dit", "mlp": "swiglu", "norm": {"type": "rms", "affine": True}}
PLAIN = changes(block="dit", head={"type": "linear", "norm": "layer", "learn_sigma": False})


@pytest.mark.parametrize(
    ("changed", "parameters"),
    [
        (changes(block=SLOTS), "675.257"),
        (changes(block={"type": "lightning", "qk_norm": True}), "675.261"),
        (PLAIN, "675.148"),
    ],
    ids=["slots of dit", "QK norm", "GELU and LayerNorm"],
)
def test_its_variants_are_as_large(changed, parameters):
    assert f"{(cost('lightning_xl', changed).params.trainable + TOKENS * 1152) / 1e6:.3f}" == parameters
    assert cost("lightning_xl", changed).macs == cost("lightning_xl").macs


OTHERS = {
    "lightning_l": (457_890_816, 80_689_233_920),
    "lightning_b_2": (130_334_992, 23_001_956_352),
    "lightning_mpdit_b": (104_638_640, 16_165_037_056),
    "lightning_ppflow_b": (130_436_432, 14_281_998_336),
    "lightning_hybrid_b": (108_431_088, 10_562_888_704),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_cost_what_they_did(name):
    assert (cost(name).params.trainable, cost(name).macs) == OTHERS[name]


def test_all_recipes_are_counted():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {"lightning_b", "lightning_xl", *OTHERS}


SMALL = """
extends: {recipe}
backbone:
  latent: {{channels: 1, height: 16, width: 16}}
  num_classes: 10
  dim: 32
  heads: 2
data: {{dataset: digits, normalize: none, workers: 0}}
train: {{steps: 20, batch: 32, learning_rate: 2.0e-3, log_every: 1, callbacks: [], precision: float32}}
"""


def test_the_loss_falls(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "none")  # the parts come by their files
    (tmp_path / "small.yaml").write_text(SMALL.format(recipe=RECIPES / "lightning_hybrid_b.yaml"))
    command = ["train", "--recipe", str(tmp_path / "small.yaml"), "--run-dir", str(tmp_path / "run")]
    command += [f"--parts={RECIPES.parent / 'block.py'}"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
