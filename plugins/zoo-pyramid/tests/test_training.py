"""Training at every size: the loss falls on two processes, and a run that was stopped goes on bit by bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_pyramid import recipes

RECIPES = Path(recipes.__file__).parent
PARTS = [f"--parts={RECIPES.parent / file}" for file in ("path.py", "schedule.py")]
SMALL = {
    "backbone": "{dim: 32, heads: 2, depth: 2}",
    "train": "{batch: 16, warmup: 0, log_every: 1, checkpoint_every: 10, schedule: constant, callbacks: []}",
    "sample.steps": "2",
}


def trained(run: Path, steps: int, *words: str) -> None:
    """The parts come by their files, so that the package need not be installed."""
    command = [sys.executable, "-m", "zoo", "train", *words, "--run-dir", str(run), f"--set=train.steps={steps}"]
    done = subprocess.run(
        [*command, *PARTS], env={**os.environ, "ZOO_PLUGINS": "none"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def begun(run: Path, name: str, steps: int, *words: str) -> None:
    changes = [f"--set={key}={value}" for key, value in SMALL.items()]
    trained(run, steps, "--recipe", str(RECIPES / f"{name}.yaml"), *changes, *words)


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def digests(run: Path) -> dict[str, str]:
    manifest = json.loads((run / "checkpoints" / "step_00000020" / "manifest.json").read_text())
    return {name: digest for name, digest in manifest["files"].items() if name.endswith(".safetensors")}


@pytest.mark.slow
def test_two_processes_lower_the_loss_and_go_on_bit_by_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    begun(whole, "pyramid_digits", 20, "--procs", "2")
    begun(parts, "pyramid_digits", 10, "--procs", "2")
    trained(parts, 20, "--resume", "--procs", "2")
    assert len(digests(whole)) == 3
    assert digests(parts) == digests(whole)
    assert len(losses(whole)) == 20
    assert sum(losses(whole)[-5:]) < 0.9 * sum(losses(whole)[:5])


def test_training_is_the_same_without_renoising(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    begun(one, "pyramid_digits", 2)
    begun(other, "pyramid_digits_no_renoising", 2)
    assert losses(one) == losses(other)
