"""Strangers' parts train on two processes, go on bit by bit where they were stopped, and draw samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tests.distributed.ranks import run_ranks
from tests.strangers.assemblies import REGISTRY, axes_recipe, masked_recipe, recipe, stage
from zoo.assembly import load_recipe
from zoo.distributed.distributed import Distributed
from zoo.errors import Preempted
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent

pytestmark = pytest.mark.slow

STEPS, STOP = 20, 11
TRAIN = {
    "steps": STEPS, "batch": 16, "learning_rate": 1e-3, "checkpoint_every": 10, "log_every": 1, "clip": 1.0,
}  # fmt: skip
RECIPES: dict[str, dict[str, Any]] = {
    "a block with skips of its own": recipe("dic", "both, down and up"),
    "a stack with skips and no vectors": recipe("uvit", "down and up"),
    "a depthwise convolution": recipe("dico", "narrow"),
    "a block with a context": recipe("cross", "both"),
    "a decoder that learns what the encoder did not see": masked_recipe(),
    "another width": recipe("narrow", "narrow"),
    "one axis": axes_recipe(
        [16], {"type": "by_depth", "levels": [{"patch": 4, "blocks": 1}, {"patch": 2, "blocks": 2}]}
    ),
    "three axes": axes_recipe(
        [2, 4, 4],
        {
            "type": "by_depth_and_timestep",
            "stages": [stage(0.5, ([2, 4, 4], 1), ([1, 2, 2], 2)), stage(0.0, ([1, 2, 2], 3))],
        },
    ),
}


def train(world: Distributed, path: Path, values: dict[str, Any], stop: int) -> int:
    """Start, or go on."""
    folder = RunFolder(path)
    session = Run(load_recipe(values, registry=REGISTRY), folder, REGISTRY, world, Silent())
    try:
        return session.train(stop_at=stop, resume=folder.is_used).step
    except Preempted:
        return stop


def hashes(path: Path) -> dict[str, str]:
    """Of weights, averages and moments after the last step."""
    manifest = json.loads((path / "checkpoints" / f"step_{STEPS:08}" / "manifest.json").read_text())
    return {name: digest for name, digest in manifest["files"].items() if name.endswith(".safetensors")}


SHARDED = {"parallel": "fsdp", "checkpoint_activations": True}
WAYS: dict[str, dict[str, Any]] = {
    "a stack with skips and no vectors": SHARDED,  # outputs of earlier blocks pass through shards and checkpoints
    "a block with a context": SHARDED,  # and so does the context
    "another width": {
        **SHARDED,
        "optimizer": {"type": "ademamix", "over": 10, "weight_decay": 0.1},
        "schedule": {"type": "restarts", "period": 8},
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_goes_on_and_samples(name: str, tmp_path: Path) -> None:
    way = WAYS.get(name, {})
    values, group = {**RECIPES[name], "train": {**TRAIN, **way}, "sample": {"steps": 2}}, bool(way)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_ranks(train, 2, whole, values, STEPS, group=group) == [STEPS] * 2
    assert run_ranks(train, 2, parts, values, STOP, group=group) == [STOP] * 2
    assert run_ranks(train, 2, parts, values, STEPS, group=group) == [STEPS] * 2
    assert hashes(parts) == hashes(whole)
    assert len(hashes(whole)) == 3
    losses = [line["loss"] for line in read_metrics(RunFolder(whole).metrics)]
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < sum(losses[:5])
    backbone = zoo.load(whole, registry=REGISTRY)
    latents = zoo.sample(backbone, labels=[0, 1, 2], steps=2, guidance=1.5, registry=REGISTRY)
    assert latents.shape == (3, *backbone.latent)
    assert latents.isfinite().all()
    assert not torch.equal(latents[0], latents[1])
