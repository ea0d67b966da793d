"""Names that a stranger chose - of a recipe, a run's folder, a file - act on no terminal, page, drawing or shell."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from tests.train.small import VALUES
from zoo.cli import app, progress
from zoo.data.latent_index import INDEX
from zoo.data.latent_shards import Shard
from zoo.data.latent_writing import encode_ids, write_shard
from zoo.distributed.distributed import _from_words
from zoo.errors import DataError, RecipeError, RunError, WeightsError, ZooError

NAME = "x\x1b]0;owned\x07\n</title><script>alert(1)</script>[red]$\\frac{\u202e"
FOLDER = "run \x1b[2J\n$(touch owned)`touch owned`'\"<script>"


def zoo(*arguments: object) -> Result:
    """A command whose output holds nothing that a terminal acts on."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    for text in (result.stdout, result.stderr):
        assert not re.search(r"[^\n -~]", re.sub("[─±]", "", text)), f"{text!a}"
    return result


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress.Progress, "_macs_per_image", lambda *_: 10**6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """A finished run of such a name in such a folder; trained once."""
    kept = runs / FOLDER
    if not kept.exists():
        Path("small.json").write_text(json.dumps(VALUES | {"name": NAME}))
        result = zoo("train", "--recipe", "small.json", "--set", "train.steps=1", "--run-dir", kept)
        assert result.exit_code == 0, result.stderr
        assert len(result.stderr.splitlines()) == 4, "what is trained, the step, what was written"
    return Path(shutil.copytree(kept, FOLDER))


def test_messages_are_lines(run: Path) -> None:
    for words, code, lines in (
        (("train", "--recipe", "small.json", "--run-dir", FOLDER), 2, 1),
        (("train", "--resume", "--run-dir", FOLDER), 0, 1),
        (("train", "--resume", "--run-dir", FOLDER, "--set", "train.seed=1"), 2, 1),
        (("train", "--resume", "--run-dir", FOLDER, "--set", f"backbone.block={NAME}"), 2, 1),
        (("sample", "--run", FOLDER, "--out", FOLDER), 2, 1),
        (("sample", "--run", FOLDER, "--out", "images\x1b[2J\n", "--count", 2), 0, 1),
        (("sample", "--run", FOLDER + "\n", "--out", "other"), 3, 1),
        (("build", "--recipe", f"{FOLDER}/recipe.yaml", "--out", f"{FOLDER}\n.safetensors"), 0, 1),
    ):
        Path("small.json").write_text(json.dumps(VALUES | {"name": NAME}))
        result = zoo(*words)
        assert result.exit_code == code, (words, result.stderr)
        assert result.stderr.count("\n") == lines, (words, result.stderr)


def test_tables(run: Path) -> None:
    Path("small.json").write_text(json.dumps(VALUES | {"name": NAME}))
    for words in (("build", "--recipe", "small.json", "--flops"), ("compare", "small.json", "--runs", FOLDER)):
        result = zoo(*words)
        assert result.exit_code == 0, result.stderr
        assert "[red]" in result.stdout, "markup is left as it is"


def test_page_and_drawings(run: Path) -> None:
    assert zoo("report", "--run", FOLDER).exit_code == 0
    assert zoo("compare", f"{FOLDER}/recipe.yaml", "digits_dit", "--plot", "plot.html").exit_code == 0
    assert zoo("compare", f"{FOLDER}/recipe.yaml", "digits_dit", "--plot", "plot.svg").exit_code == 0
    assert zoo("diagram", "--recipe", f"{FOLDER}/recipe.yaml", "--out", "way.svg").exit_code == 0
    for page in (Path(FOLDER, "report.html"), Path("plot.html")):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "alert(1)" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    for drawing in (Path("plot.svg"), Path("way.svg")):
        root = ET.fromstring(drawing.read_text(encoding="utf-8"))
        assert not [each for each in root.iter() if each.tag.endswith("script")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_command_that_goes_on_can_be_pasted(run: Path) -> None:
    head = Path(FOLDER, "recipe.yaml").read_text(encoding="utf-8").splitlines()[0]
    line = head.rpartition("   zoo ")[2]
    said = subprocess.run(["bash", "-c", rf"printf '%s\0' {line}"], capture_output=True, check=True, text=True).stdout
    assert said.split("\0")[:3] == ["train", "--resume", "--run-dir"]
    assert Path(said.split("\0")[3]).name == FOLDER
    assert not Path("owned").exists()


def test_samples(tmp_path: Path) -> None:
    """Latents that somebody sent, whose names stand in messages, tables and a list of what is left out."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    names = [f"{number}/{NAME}" for number in range(4)]
    moments = torch.zeros(4, 2, 8, 8)
    moments[[1, 3], 0, 0, 0] = torch.nan
    shard = folder / "shard.safetensors"
    write_shard(shard, Shard(moments, None, torch.tensor([0, 1, 0, 1]), encode_ids(names)), {})
    index = {
        **{"format": "zoo latents", "version": 1},
        **{"channels": 1, "height": 8, "width": 8, "image_size": (8, 8), "dtype": "float32", "flip": "none"},
        "vae": {"source": NAME, "sha256": "0" * 64},
        "statistics": {"of": "samples", "mean": [0.0], "std": [1.0]},
        "classes": [NAME, "b\x1b[2J"],
        "shards": [{"file": shard.name, "count": 4, "sha256": hashlib.sha256(shard.read_bytes()).hexdigest()}],
    }
    (folder / INDEX).write_text(json.dumps(index))
    dataset = {"type": "latents", "folder": FOLDER, "sample_posterior": False}
    backbone = {**VALUES["backbone"], "num_classes": 2}
    Path("small.json").write_text(json.dumps({**VALUES, "backbone": backbone, "data": {"dataset": dataset}}))
    check = ("data", "check", "--recipe", "small.json", "--verbose", "--set")
    result = zoo(*check, "data.normalize=none", "--leave-out", "list.txt", "--out", "all.txt")
    assert result.exit_code == 3, result.stderr
    assert len(result.stdout.splitlines()) == 5, (
        "what there is, what is wrong with how many, two messages; none held out"
    )
    assert len(Path("list.txt").read_text().splitlines()) == len(Path("all.txt").read_text().splitlines()) == 2
    left_out = zoo(*check, "data.leave_out=list.txt")
    assert left_out.exit_code == 0, left_out.stdout
    assert "2 of 4 samples are left out" in left_out.stdout


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (ZooError(f"{NAME}: is there"), 1),
        (RunError(f"{NAME}: is there"), 1),
        (DataError(f"{NAME}: is there"), 1),
        (RecipeError([NAME, f"{NAME}: is there"]), 2),
        (WeightsError(NAME, [NAME, "is there"]), 3),
        (WeightsError(NAME), 1),
    ],
)
def test_errors_are_lines_also_where_another_process_tells_them(error: ZooError, lines: int) -> None:
    told = str(error).split("\n")
    assert len(told) == lines
    assert all(line.isprintable() for line in told)
    again = _from_words((type(error).__name__, error.exit_code, str(error)))
    assert (type(again), str(again)) == (type(error), str(error))
