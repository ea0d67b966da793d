"""Recipes cost what their backbones do; the projector is on top, trains, and goes nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import zoo
from zoo.cli import app
from zoo.flow import objective_of
from zoo_repa.dataset import WithFeatures
from zoo_repa.extract import main
from zoo_repa.loss import RepresentationAlignment

RECIPES = Path(str(files("zoo_repa.recipes")))
REGISTRY = zoo.Registry().with_parts([RepresentationAlignment, WithFeatures])
NAMES = ("sit_b", "mpdit_b", "hybrid_b")


def test_all_recipes_are_here():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {f"repa_{name}" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_backbones_are_those_that_recipes_extend_and_the_projector_is_on_top(name):
    recipe = zoo.load_recipe(RECIPES / f"repa_{name}.yaml", registry=REGISTRY)
    own, plain = zoo.cost(recipe), zoo.cost(name)
    assert (own.macs, own.params.total) == (plain.macs, plain.params.total)
    backbone = zoo.build(recipe, device="meta")
    projector = objective_of(recipe, backbone).losses[1].projector
    width, hidden, features = 768, 2048, 768
    count = width * hidden + hidden + hidden**2 + hidden + hidden * features + features
    assert sum(each.numel() for each in projector.parameters()) == count == 7_344_896


SMALL = """
extends: {recipe}
backbone:
  latent: {{channels: 1, height: 16, width: 16}}
  num_classes: 10
  dim: 32
  heads: 2
  depth: 4
  patch_schedule: {{type: by_depth, levels: [{{patch: 4, blocks: 2}}, {{patch: 2, blocks: 2}}]}}
data: {{dataset: {{type: with_features, of: digits, features: {features}}}, normalize: none, workers: 0}}
objective: {{losses: [squared_error, {{type: repa, weight: 0.5, depth: 2, features: 3, hidden: 16}}]}}
train: {{steps: 20, batch: 32, learning_rate: 2.0e-3, warmup: 0, log_every: 1, callbacks: [], precision: float32}}
sample: {{guidance: {{type: classifier_free, channels: null}}}}
"""


class Quarters(nn.Module):
    """Three moments of each quarter of a digit."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = [nn.functional.adaptive_avg_pool2d(pictures**power, (2, 2)) for power in (1, 2, 3)]
        return torch.cat(found, 1)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Quarters()).save(str(folder / "quarters.pt"))
    given = ["--recipe", "digits_dit", "--encoder", str(folder / "quarters.pt"), "--out", str(folder / "digits")]
    given += ["--side", "16", "--channels", "1", "--mean", "0.5", "--std", "0.5"]
    assert main(given) == 0
    return folder / "digits"


def small(folder: Path, features: Path) -> Path:
    """A recipe of two levels, the loss on the tokens of the coarse one."""
    path = folder / "small.yaml"
    path.write_text(SMALL.format(recipe=RECIPES / "repa_mpdit_b.yaml", features=features))
    return path


def test_both_losses_fall_a_run_goes_on_bit_by_bit_and_nothing_of_it_is_exported(tmp_path, monkeypatch, features):
    monkeypatch.setenv("ZOO_PLUGINS", "none")  # the parts come by their files
    recipe = small(tmp_path, features)
    modules = [f"--parts={RECIPES.parent / module}.py" for module in ("loss", "dataset")]

    def run(folder: str, *more: str) -> list[dict[str, float]]:
        command = ["train", "--recipe", str(recipe), "--run-dir", str(tmp_path / folder)]
        done = CliRunner().invoke(app, [*command, *more, *modules])
        assert done.exit_code == 0, done.output
        lines = map(json.loads, (tmp_path / folder / "metrics.jsonl").read_text().splitlines())
        return [line for line in lines if "loss" in line]

    whole = run("whole")
    assert len(whole) == 20
    for term in ("squared_error", "repa"):
        values = [line["terms"][term] for line in whole]
        assert sum(values[-5:]) < 0.95 * sum(values[:5]), term
    run("halves", "--set", "train.steps=10")
    halves = run("halves", "--set", "train.steps=20", "--resume")
    assert [line["loss"] for line in halves] == [line["loss"] for line in whole]
    weights = tmp_path / "weights.safetensors"
    done = CliRunner().invoke(app, ["export", str(tmp_path / "whole"), "--to", "zoo", "--out", str(weights), *modules])
    assert done.exit_code == 0, done.output
    assert not [key for key in zoo.load(weights).state_dict() if "projector" in key]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, features):
    recipe, losses = small(tmp_path, features), []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        command = [sys.executable, "-m", "zoo", "train", "--recipe", str(recipe), "--run-dir", str(folder)]
        command += ["--procs", str(processes)]
        command += [f"--parts={RECIPES.parent / module}.py" for module in ("loss", "dataset")]
        environment = {**os.environ, "ZOO_PLUGINS": "none", "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, timeout=200)
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        losses.append([line["terms"]["repa"] for line in lines if "loss" in line])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert sum(losses[1][-5:]) < 0.95 * sum(losses[1][:5])
