import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "zoo_trackers"

RECIPE = """
extends: digits_dit.yaml
backbone: {dim: 16, depth: 1, heads: 2, patch_schedule: {type: uniform, patch: 4}}
train: {batch: 4, log_every: 1, checkpoint_every: 2, schedule: constant}
sample: {steps: 1}
"""


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch):
    """Where a tracker looks for settings and writes files of its own."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (("WANDB_CONFIG_DIR", "settings"), ("WANDB_CACHE_DIR", "cache"), ("WANDB_DATA_DIR", "data")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def train(tmp_path):
    """Trains in ``run``, as a command, and gives what it says; goes on where there is a run."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)

    def trained(callbacks, *options):
        begun = ["--resume"] if (tmp_path / "run").exists() else ["--recipe", "tiny.yaml"]
        chosen = [f"train.callbacks={callbacks}", *options]
        command = [sys.executable, "-m", "zoo", "train", *begun, "--run-dir", "run"]
        command += [f"--parts={PACKAGE / 'wandb.py'}", f"--parts={PACKAGE / 'mlflow.py'}"]
        command += [word for each in chosen for word in ("--set", each)]
        path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "ZOO_PLUGINS": "none", "PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return trained
