"""``zoo train --resume --set``: training that is another from a step on, on purpose, and the same again from there."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.test_train import RECIPE, refused, resume, sets, train
from tests.commands import content, zoo
from zoo.cli import progress
from zoo.runs.checkpoint import latest

CHANGES = {
    "train.learning_rate": "0.5",
    "train.warmup": "5",
    "train.schedule": "{type: wsd, decay: 0.9}",
    "train.clip": "0.001",
    "train.ema": "0.25",
    "train.ema_ramp": "false",
    "train.precision": "bfloat16",
}


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("runs"), Path.cwd()
    os.chdir(folder)
    Path("small.yaml").write_text(RECIPE)
    try:
        assert train().exit_code == 0
    finally:
        os.chdir(before)
    return folder / "run"


@pytest.fixture(autouse=True)
def run(three_steps, tmp_path, monkeypatch):
    """A copy of a run of three steps, as ``run`` in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress.Progress, "_macs_per_image", lambda *_: 10**6)
    Path("small.yaml").write_text(RECIPE)
    shutil.copytree(three_steps, "run")


def went_on(*changes: str) -> dict[str, str]:
    """Hashes of what a copy of the run holds after two more steps, by file."""
    shutil.copytree("run", "copy")
    try:
        result = zoo("train", "--resume", "--run-dir", "copy", *sets("train.steps=5", *changes))
        assert result.exit_code == 0, result.stderr
        found, problems = latest(Path("copy/checkpoints"))
        assert (found.step, problems) == (5, [])
        return {file.stem: found.digest(file.stem) for file in found.path.glob("*.safetensors")}
    finally:
        shutil.rmtree("copy")


@pytest.mark.parametrize("key", CHANGES)
def test_a_change_that_is_asked_for_trains_differently_and_the_same_again(key):
    change = f"{key}={CHANGES[key]}"
    one, other, plain = went_on(change), went_on(change), went_on()
    assert one == other
    assert one != plain
    assert (one["model"] == plain["model"]) == key.startswith("train.ema")


def test_it_is_told_and_kept_with_its_step():
    line = "note: going on with train.learning_rate: 0.5 in place of 0.01"
    assert line in resume(*sets("train.learning_rate=0.5", "train.steps=5")).stderr.splitlines()
    (changes,) = [each["changes"] for each in json.loads(Path("run/run.json").read_text()) if "changes" in each]
    assert {"step": 3, "key": "train.learning_rate", "before": 0.01, "after": 0.5} in changes
    assert "learning_rate: 0.5" in Path("run/recipe.yaml").read_text()


def test_it_may_be_asked_for_with_others_in_a_mapping():
    line = "note: going on with train.learning_rate: 0.5 in place of 0.01"
    assert line in resume(*sets("train={learning_rate: 0.5, steps: 5}")).stderr.splitlines()
    assert "train.batch may not change" in refused(resume(*sets("train={learning_rate: 0.25, batch: 2}")))


def test_a_run_that_is_killed_before_it_saved_goes_on_changed_without_being_asked_again():
    whole = went_on("train.learning_rate=0.5")
    assert resume(*sets("train.learning_rate=0.5", "train.steps=5")).exit_code == 0
    for name in ("checkpoints/step_00000005", "metrics.jsonl"):
        path = Path("run", name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert went_on() == whole
    result = resume()
    assert result.exit_code == 0
    assert "note: going on with train.learning_rate: 0.5 in place of 0.01" in result.stderr.splitlines()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("train.batch=2", "train.batch: 8 and 2; train.batch may not change, since the order counts updates of one"),
        ("train.seed=5", "train.seed may not change, since order and noise are drawn by it"),
        ("train.ema=[0.5, 0.25]", "train.ema may change where `--set` asks for it; of several the first, and none by"),
        ("train.ema=[{std: 0.1}]", "train.ema may change where `--set` asks for it; of several the first, and none by"),
        ("train.optimizer.betas=[0.5, 0.9]", "train.optimizer may not change, since its moments are of that optimizer"),
    ],
)
def test_what_cannot_change_says_why(change, told):
    before = content("run")
    assert told in refused(resume(*sets(change)))
    assert content("run") == before


def test_what_a_file_says_otherwise_is_no_wish():
    Path("small.yaml").write_text(RECIPE.replace('"learning_rate": 0.01', '"learning_rate": 0.5'))
    assert "train.learning_rate may change where `--set` asks for it" in refused(train("--resume"))
    assert train("--resume", *sets("train.learning_rate=0.5", "train.steps=4")).exit_code == 0


def test_a_run_whose_schedule_is_at_its_end_goes_on_by_a_longer_one():
    Path("small.yaml").write_text(RECIPE)
    done = zoo("train", "--recipe", "small.yaml", "--run-dir", "fell", *sets("train.schedule=cosine"))
    assert done.exit_code == 0
    again = zoo("train", "--resume", "--run-dir", "fell")
    assert "--set train.steps=MORE goes on by the learning rates of a longer schedule" in again.stderr
    assert zoo("train", "--resume", "--run-dir", "fell", *sets("train.steps=6")).exit_code == 0


def test_what_is_written_into_the_run_s_file_after_a_change_is_no_wish_either():
    assert resume(*sets("train.learning_rate=0.5", "train.steps=5")).exit_code == 0
    shutil.rmtree("run/checkpoints/step_00000005")
    Path("run/recipe.yaml").write_text(Path("run/recipe.yaml").read_text().replace("rate: 0.5", "rate: 0.25"))
    assert "train.learning_rate: 0.01 and 0.25" in refused(resume())
