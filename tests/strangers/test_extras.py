"""A loss, optimizer, schedule, callback, path, guidance and weight format of a stranger's, from one file."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import zoo
from tests.strangers import extras
from tests.strangers.extras import PARTS, Lanes, OffsetCosine
from tests.train.small import ALONE, SIZE
from zoo.assembly import load_recipe
from zoo.cli import app
from zoo.errors import Preempted
from zoo.flow import TrigonometricPath
from zoo.runs.run_folder import RunFolder
from zoo.testing import check_format, check_part
from zoo.train.run import Run, Silent

FILE = Path(extras.__file__)
STEPS, STOP, SAVED = 5, 3, 2
RECIPE: dict[str, Any] = {
    "name": "extra",
    "backbone": {**SIZE, "patch_schedule": {"type": "uniform", "patch": 2}},
    "objective": {"path": "offset_cosine", "losses": [{"type": "huber", "delta": 0.5, "tap": 1}]},
    "train": {
        "steps": STEPS,
        "batch": 8,
        "learning_rate": 0.05,
        "log_every": 1,
        "checkpoint_every": SAVED,
        "optimizer": {"type": "nesterov", "weight_decay": 0.01},
        "schedule": {"type": "inverse_sqrt", "flat": 2},
        "callbacks": ["table"],
    },
    "sample": {"steps": 2, "guidance": {"type": "rising", "scale": 3.0}},
}


def run_zoo(*words: object) -> str:
    result = CliRunner().invoke(app, [*map(str, words), "--parts", str(FILE)])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def train(path: Path, stop: int = STEPS) -> None:
    """Start, or go on."""
    registry, folder = zoo.Registry().with_parts([FILE]), RunFolder(path)
    session = Run(load_recipe(RECIPE, registry=registry), folder, registry, ALONE, Silent())
    with nullcontext() if stop == STEPS else pytest.raises(Preempted):
        session.train(stop_at=stop, resume=folder.is_used)


def hashes(run: Path) -> dict[str, str]:
    """Of weights, averages and moments after the last step."""
    manifest = json.loads((run / "checkpoints" / f"step_{STEPS:08}" / "manifest.json").read_text())
    return {name: digest for name, digest in manifest["files"].items() if name.endswith(".safetensors")}


def rows(run: Path) -> list[list[str]]:
    with (run / "table" / "table.csv").open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped; to be read alone."""
    path = tmp_path_factory.mktemp("extras") / "whole"
    train(path)
    return path


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_parts_keep_the_laws(part):
    check_part(part, examples=1)


def test_its_path_without_offset_is_gvp():
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    ours, gvp = OffsetCosine(offset=0.0), TrigonometricPath()
    assert torch.allclose(ours.alpha(t), gvp.alpha(t))
    assert torch.allclose(ours.sigma(t), gvp.sigma(t))


def test_the_format_keeps_the_laws():
    check_format(Lanes, RECIPE, parts=PARTS)


def test_a_run_with_all_of_them_goes_on_bit_by_bit(whole, tmp_path):
    parts = tmp_path / "parts"
    train(parts, STOP)
    shutil.rmtree(parts / "checkpoints" / f"step_{STOP:08}")  # as if killed: the last step comes again
    train(parts)
    assert hashes(parts) == hashes(whole)
    assert rows(parts) == rows(whole)
    assert [row[0] for row in rows(whole)] == ["step", *map(str, range(1, STEPS + 1))]
    flat = RECIPE["train"]["schedule"]["flat"]
    rates = [float(row[3]) for row in rows(whole)[1:]]
    wanted = [RECIPE["train"]["learning_rate"] * max(step / flat, 1.0) ** -0.5 for step in range(STEPS)]
    assert rates == pytest.approx(wanted)


def test_its_guidance_and_path_draw(whole):
    backbone = zoo.load(whole, parts=[FILE])
    with torch.no_grad():  # as published weights would be, for which the label matters
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)

    def draw(guidance):
        return zoo.sample(backbone, [0, 1], steps=4, guidance=guidance, parts=[FILE])

    plain, rising, full = draw(1.0), draw({"type": "rising", "scale": 3.0}), draw(3.0)
    assert rising.shape == (2, *backbone.latent)
    assert all(each.isfinite().all() for each in (plain, rising, full))
    assert torch.equal(draw({"type": "rising", "scale": 1.0}), plain)
    assert not any(torch.allclose(rising, each, rtol=1e-3) for each in (plain, full))


def test_its_format_goes_out_and_comes_back(whole, tmp_path):
    there, back, again = tmp_path / "lanes.safetensors", tmp_path / "back.safetensors", tmp_path / "again.safetensors"
    run_zoo("export", whole, "--to", "lanes", "--out", there)
    run_zoo("import", there, "--recipe", whole / "recipe.yaml", "--out", back)
    run_zoo("export", back, "--to", "lanes", "--out", again)
    own, lanes = load_file(back), load_file(there)
    averages = zoo.load(whole, parts=[FILE]).state_dict()
    assert own.keys() == averages.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in averages.items())
    assert all(torch.equal(tensor, lanes[name]) for name, tensor in load_file(again).items())
    assert torch.equal(lanes["out.bias"], -own["heads.2x2.proj.bias"])
    assert torch.equal(lanes["stem.weight"].flatten(1), own["patch_embedders.2x2.proj.weight"])
    query, key, value = (lanes[f"layers.1.attention.{word}.weight"] for word in ("query", "key", "value"))
    assert torch.equal(torch.cat([query, key, value]), own["blocks.1.attention.qkv.weight"])
