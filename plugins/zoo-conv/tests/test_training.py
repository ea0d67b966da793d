import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_conv import recipes

RECIPES = Path(recipes.__file__).parent
LEVELS = "[{patch: 1, blocks: 4}, {patch: 2, blocks: 1, dim: 32}, {patch: 1, blocks: 4}]"
STEPS = 20


@pytest.mark.slow
def test_the_loss_falls_on_two_ranks(tmp_path):
    """Of an hourglass with DiCo's blocks on the way down and DiC's, which take what those leave, on the way up."""
    changes = [
        "backbone={dim: 16, depth: 9, num_classes: 10, latent: {channels: 1, height: 16, width: 16}}",
        f"backbone.patch_schedule.levels={LEVELS}",
        "backbone.block=[{type: dico, blocks: 5}, {type: dic, blocks: 4}]",
        "data={dataset: digits, normalize: none}",
        f"train={{steps: {STEPS}, batch: 32, learning_rate: 2.0e-3, log_every: 1}}",
        "sample={steps: 1, guidance: {channels: null}}",
        "evaluate={features: pca, count: 20}",
    ]
    package = RECIPES.parent
    command = [sys.executable, "-m", "zoo", "train", "--procs", "2", "--recipe", str(RECIPES / "dic_s.yaml")]
    command += ["--run-dir", str(tmp_path / "run")]
    command += [f"--parts={package / file}" for file in ("dic.py", "dico.py", "resamplers.py")]
    command += [word for change in changes for word in ("--set", change)]
    environment = {**os.environ, "ZOO_PLUGINS": "none", "PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
