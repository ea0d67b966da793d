"""Every recipe is as large as published, and by the closed form of its formulas, and costs as much."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import zoo
from zoo.cli import app
from zoo.parts import ClassCondition, ClassConditioner, Linear
from zoo_uvit.block import UViTBlock
from zoo_uvit.head import UViTHead

RECIPES = Path(str(files("zoo_uvit.recipes")))


@zoo.part("class_conditioner", "text")
class Text(ClassConditioner):
    """77 tokens of a text of width 768, through a Linear: U-ViT on COCO."""

    gives = frozenset({"prefix"})
    class_tokens = 77

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = Linear(768, dim)

    def forward(self, labels):
        return ClassCondition(tokens=self.proj(labels))

    def null(self, labels):
        return torch.zeros_like(labels)

    def example_labels(self, batch, device=None):
        return torch.ones(batch, 77, 768, device=device)

    def check_labels(self, labels, batch):
        pass


REGISTRY = zoo.Registry().with_parts([UViTBlock, UViTHead, Text])


@cache
def cost(name: str, *changed: tuple[str, Any]) -> Any:
    return zoo.cost(RECIPES / f"{name}.yaml", dict(changed), registry=REGISTRY)


def closed_form(dim: int, blocks: int, latent: tuple[int, ...], patch: int, labels: int, conv: bool) -> tuple[int, int]:
    """Parameters, and multiply-adds; ``labels``: rows of the table, 0 for none."""
    channels, *size = latent
    pixels, tokens, image = channels * patch**2, prod(size) // patch**2, prod(size)
    m, skips = 2 if labels else 1, blocks // 2
    block = 12 * dim**2 + 10 * dim  # qkv has no bias; 4 of two norms
    parameters = blocks * block + skips * (2 * dim**2 + dim)
    parameters += (pixels * dim + dim) + labels * dim + (m + tokens) * dim + 2 * dim + (dim * pixels + pixels)
    parameters += conv * (9 * channels**2 + channels)
    total = tokens + m
    macs = blocks * (12 * total * dim**2 + 2 * total**2 * dim) + skips * 2 * total * dim**2
    return parameters, macs + 2 * tokens * pixels * dim + conv * 9 * channels**2 * image


FORMS = {
    "uvit_s": ((512, 13, (3, 32, 32), 2, 0, True), 44_255_328, 12_200_802_304),
    "uvit_m": ((768, 17, (3, 64, 64), 4, 1001, True), 130_941_060, 35_235_735_552),
    "uvit_l": ((1024, 21, (4, 32, 32), 2, 1001, True), 286_763_172, 76_456_189_952),
    "uvit_h": ((1152, 29, (4, 32, 32), 2, 1001, False), 500_832_016, 133_196_682_240),
    "uvit_l_512": ((1024, 21, (4, 64, 64), 4, 1001, True), 286_861_524, 76_481_798_144),
    "uvit_h_512": ((1152, 29, (4, 64, 64), 4, 1001, False), 500_942_656, 133_224_993_792),
}
LEVELS = {
    "uvit_mpdit_b": (106_054_980, 17_088_867_328),
    "uvit_ppflow_b": (92_863_864, 15_375_753_216),
    "uvit_hybrid_b": (109_873_688, 11_201_391_616),
}


def test_all_recipes_are_here():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {*FORMS, *LEVELS}


@pytest.mark.parametrize("name", FORMS)
def test_published_sizes_are_those_of_the_formulas(name):
    form, parameters, macs = FORMS[name]
    assert (cost(name).params.total, cost(name).macs) == (parameters, macs) == closed_form(*form)
    assert cost(name).params.trainable == parameters


@pytest.mark.parametrize("name", LEVELS)
def test_patch_schedules_cost_what_they_did(name):
    assert (cost(name).params.total, cost(name).macs) == LEVELS[name]


def test_weights_start_as_published():
    small = {"backbone.dim": 32, "backbone.depth": 3, "backbone.heads": 2}
    torch.manual_seed(0)
    backbone = zoo.build(RECIPES / "uvit_l.yaml", small, registry=REGISTRY)
    weights = {name: each.detach() for name, each in backbone.named_parameters()}
    assert weights.pop("class_conditioner.embedding.weight").std() == pytest.approx(1.0, rel=0.02)
    assert weights.pop("heads.2x2.conv.weight").abs().max() == pytest.approx(36**-0.5, rel=0.1)  # as PyTorch's
    for name, weight in weights.items():
        if name.startswith(("blocks", "heads", "positions")) and not name.startswith("heads.2x2.conv"):
            if name.endswith("bias"):
                assert not weight.any(), name
            elif "norm" in name:
                assert weight.eq(1).all(), name
            else:
                assert weight.std() == pytest.approx(0.02, rel=0.25 if weight.numel() < 100 else 0.1), name


FACES = (("backbone.latent.height", 64), ("backbone.latent.width", 64), ("backbone.patch_schedule.patch", 4))
TEXT = (
    *(("backbone.latent.channels", 4), ("backbone.class_conditioner", "text"), ("backbone.num_classes", 0)),
    *(("sample.labels", "balanced"), ("evaluate.labels", "data")),
)
PRINTED = [
    # recipe, what differs, rows that the published table of classes has less, parameters (M), multiply-adds (G)
    ("uvit_s", (), 0, "44.255", "12.20"),
    ("uvit_s", FACES, 0, "44.292", "12.21"),
    ("uvit_m", (), 1, "130.940", "35.24"),
    ("uvit_l", (("backbone.latent.channels", 3), *FACES), 1, "286.828", "76.47"),
    ("uvit_l", (), 0, "286.763", "76.456"),
    ("uvit_h", (), 0, "500.832", "133.197"),
    ("uvit_l_512", (), 0, "286.862", "76.482"),
    ("uvit_h_512", (), 0, "500.943", "133.225"),
    ("uvit_s", TEXT, 0, "44.693", "16.23"),
    ("uvit_s", (*TEXT, ("backbone.depth", 17)), 0, "58.346", "21.24"),
]
"""U-ViT's table of models: ImageNet 256 and 512, ImageNet 64, CIFAR-10, CelebA 64, COCO."""


@pytest.mark.parametrize(("name", "changed", "rows", "parameters", "macs"), PRINTED)
def test_published_models_are_as_large(name, changed, rows, parameters, macs):
    counted = cost(name, *changed)
    width = zoo.load_recipe(RECIPES / f"{name}.yaml", registry=REGISTRY).backbone.dim
    digits = len(macs.partition(".")[2])
    assert f"{(counted.params.total - rows * width) / 1e6:.3f}" == parameters
    assert f"{counted.macs / 1e9:.{digits}f}" == macs


SMALL = """
extends: {recipe}
backbone:
  latent: {{channels: 1, height: 16, width: 16}}
  num_classes: 10
  dim: 32
  heads: 2
data: {{dataset: digits, normalize: none, workers: 0}}
train: {{steps: 20, batch: 32, learning_rate: 2.0e-3, warmup: 0, log_every: 1, callbacks: [], precision: float32}}
"""


def test_the_loss_falls(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "none")  # the parts come by their files
    (tmp_path / "small.yaml").write_text(SMALL.format(recipe=RECIPES / "uvit_hybrid_b.yaml"))
    modules = [RECIPES.parent / f"{module}.py" for module in ("block", "head")]
    command = ["train", "--recipe", str(tmp_path / "small.yaml"), "--run-dir", str(tmp_path / "run")]
    command += [f"--parts={module}" for module in modules]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
