import json
from pathlib import Path

from typer.testing import CliRunner

from zoo.cli import app
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
    "sample.steps": "1",  # of the pictures at the end
    "train": "{steps: 20, batch: 16, learning_rate: 2.0e-3, log_every: 1, checkpoint_every: 20}",
}


def test_twenty_steps_lower_the_loss(tmp_path, monkeypatch):
    """As ``zoo train`` makes them; the parts come by their files, so that the package need not be installed."""
    monkeypatch.setenv("ZOO_PLUGINS", "none")
    command = ["train", "--recipe", str(RECIPES / "sana_linear_b.yaml"), "--run-dir", str(tmp_path / "run")]
    command += [f"--parts={PACKAGE / file}" for file in ("dig.py", "relu.py")]
    command += [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
