import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_linear import recipes

RECIPES = Path(recipes.__file__).parent
PACKAGE = RECIPES.parent
LIT = "{type: dit, blocks: 1, attention: lit}"
SANA = "{type: dit, blocks: 1, attention: sana, mlp: mix_ffn}"
SMALL = {
    "backbone.latent": "{channels: 1, height: 16, width: 16}",
    "backbone.num_classes": "10",
    "backbone.dim": "48",
    "backbone.heads": "3",
    "backbone.depth": "6",
    "backbone.block": f"[{{type: dig, blocks: 4}}, {LIT}, {SANA}]",
    "data": "{dataset: digits}",
    "sample.guidance.channels": "",
    "train": "{steps: 20, batch: 16, learning_rate: 2.0e-3, log_every: 1, checkpoint_every: 20}",
}


@pytest.mark.slow
def test_twenty_steps_on_two_ranks_lower_the_loss(tmp_path):
    """As a user would, by ``zoo train``; the parts come by their files, so that the package need not be installed."""
    command = [sys.executable, "-m", "zoo", "train", "--recipe", str(RECIPES / "sana_linear_b.yaml"), "--procs", "2"]
    command += [f"--parts={PACKAGE / file}" for file in ("dig.py", "relu.py")]
    sets = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, *sets, "--run-dir", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "ZOO_PLUGINS": "none", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
