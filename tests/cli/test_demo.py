"""`zoo demo`: each command is told, what is wrong is said before any is run, and Ctrl-C stops all of them."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from zoo.cli import app
from zoo.cli.going_on import told_how_to_go_on
from zoo.distributed.distributed import Distributed

demo = import_module("zoo.cli.demo")


def test_it_audits_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo", "--set", "train.steps=2", "--set", "sample.steps=2"])
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if line.startswith("$ zoo ")]
    assert [line.split()[2] for line in told] == ["build", "build", "train", "sample"]
    assert "16.165 G" in result.stdout
    assert (tmp_path / "runs/digits_hybrid/images/grid.png").is_file()


@pytest.mark.parametrize(
    ("file", "goes_on"),
    [
        ("notes", ""),
        (
            "recipe.yaml",
            "`zoo train --resume --run-dir D` goes on with its run, and `zoo sample --run D --count 100 --out D/images`"
            " draws; ",
        ),
    ],
)
def test_a_folder_that_is_there_is_left_alone(tmp_path, file, goes_on):
    """Nor does ``make demo`` remove it."""
    (tmp_path / file).touch()
    result = CliRunner().invoke(app, ["demo", "--run-dir", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    told = f"is there already; {re.sub(r'D(?=[ `/])', str(tmp_path), goes_on)}remove it to begin anew,"
    assert result.stderr == f"error: {tmp_path}: {told} or give --run-dir D with another\n"
    assert [each.name for each in tmp_path.iterdir()] == [file]
    assert (
        "rm "
        not in (Path(__file__).parents[2] / "Makefile").read_text("utf-8").partition("demo:")[2].partition("test:")[0]
    )


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--set", "train.stesp=2"], 2, "train.stesp: unknown option"),
        (["--run-dir", "file/demo"], 3, "--run-dir file/demo: cannot be written"),
    ],
)
def test_what_is_wrong_is_said_before_minutes_are_spent(tmp_path, monkeypatch, words, code, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["demo", *words])
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert "$ zoo" not in result.stderr


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """A demo whose audits and training are done at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "build", lambda *_, **__: None)
    monkeypatch.setattr(demo, "train", lambda *_: False)
    return lambda: CliRunner().invoke(app, ["demo"])


DRAWS = "zoo sample --run runs/digits_hybrid --count 100 --out runs/digits_hybrid/images"


def test_one_that_is_stopped_in_its_last_step_does_not_go_on_to_draw(quick, monkeypatch):
    monkeypatch.setattr(demo, "train", lambda *_: True)
    monkeypatch.setattr(demo, "sample", lambda *_, **__: pytest.fail("draws"))
    result = quick()
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        75,
        f"stopped: runs/digits_hybrid: is trained; `{DRAWS}` draws from it",
    )


def test_one_that_is_stopped_while_it_draws_names_the_command_that_goes_on(quick, monkeypatch):
    def interrupted(*_, **__):
        with told_how_to_go_on(Distributed(0, 1, torch.device("cpu")), lambda: True):
            raise KeyboardInterrupt

    monkeypatch.setattr(demo, "sample", interrupted)
    result = quick()
    assert f"what has been done is kept; go on with: {DRAWS} --resume" in result.stderr.splitlines()
    assert result.exit_code == 130
