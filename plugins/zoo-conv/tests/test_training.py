import json
from pathlib import Path

from typer.testing import CliRunner

from zoo.cli import app
from zoo_conv import recipes

RECIPES = Path(recipes.__file__).parent
LEVELS = "[{patch: 1, blocks: 4}, {patch: 2, blocks: 1, dim: 32}, {patch: 1, blocks: 4}]"
STEPS = 20


def test_the_loss_falls(tmp_path, monkeypatch):
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
    monkeypatch.setenv("ZOO_PLUGINS", "none")  # the parts come by their files
    command = ["train", "--recipe", str(RECIPES / "dic_s.yaml"), "--run-dir", str(tmp_path / "run")]
    command += [f"--parts={package / file}" for file in ("dic.py", "dico.py", "resamplers.py")]
    command += [word for change in changes for word in ("--set", change)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
