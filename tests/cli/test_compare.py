"""``zoo compare``: tables, JSON and plots of recipes and runs; and every refusal as one line."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.commands import done, refused, zoo
from tests.train.small import VALUES, train
from zoo.recipe import to_yaml

QUICK = ("evaluate.count=12", "evaluate.metrics=[fid]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        train(folder / f"seed{seed}", *QUICK, f"train.seed={seed}")
    (folder / "small.yaml").write_text(to_yaml({**VALUES, "evaluate": {"count": 12, "metrics": ["fid"]}}))
    return folder


@pytest.fixture(autouse=True)
def working_folder(runs, monkeypatch):
    monkeypatch.chdir(runs)


def test_recipes_stand_below_each_other():
    result = done("compare", "digits_dit", "digits_hybrid")
    lines = result.stdout.splitlines()
    dit, hybrid = (index for index, line in enumerate(lines) if line.strip().startswith("digits_"))
    assert "100.0%" in lines[dit]
    assert "39.1%" in lines[hybrid]
    assert [" 8 > 20 " in lines[hybrid], "20 > 68" in lines[hybrid + 1]] == [True, True]  # two levels in two stages
    assert max(map(len, lines)) <= 112


def test_further_runs_may_follow_the_option():
    for arguments in (("--runs", "seed0", "seed1", "small.yaml"), ("small.yaml", "--runs", "seed0", "--runs", "seed1")):
        result = zoo("compare", *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        (entry,) = json.loads(result.stdout)
        assert [run["run"] for run in entry["outcomes"]] == ["seed0", "seed1"]
        assert entry["figures"]["fid"]["mean"] == pytest.approx(
            sum(run["figures"]["fid"] for run in entry["outcomes"]) / 2
        )


def test_a_run_that_has_to_be_judged_is_told_before(runs, tmp_path):
    for name, run in (("one", "seed0"), ("two", "seed1")):
        shutil.copytree(runs / run, tmp_path / name, ignore=shutil.ignore_patterns("evaluations"))
    done("eval", "--run", tmp_path / "one")
    draws = "draws 12 images, and compares them with 1198 real ones"
    words = ("compare", "--runs", tmp_path / "one", tmp_path / "two", "--json")
    assert done(*words).stderr == f"{tmp_path}/two: not judged yet; {draws}\n"
    assert done(*words).stderr == ""
    told = done(*words, "--set", "sample.steps=3").stderr.splitlines()
    assert told == [f"{tmp_path}/{name}: not judged in this way yet; {draws}" for name in ("one", "two")]


def test_overrides_are_of_recipes_and_of_how_runs_are_judged():
    result = zoo("compare", "small.yaml", "--runs", "seed0", "--set", "sample.steps=7", "--json")
    (entry,) = json.loads(result.stdout)
    assert entry["cost"]["sampling"] == "7 updates by euler, guidance 1"
    assert len(entry["outcomes"]) == 1
    told = refused(zoo("compare", "--runs", "seed0", "--set", "backbone.depth=3"))
    assert told == "--set backbone.depth=3: only `sample`, `data` and `evaluate` may be other than in training"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_plots_are_what_their_names_say(tmp_path, suffix):
    out = tmp_path / f"plot{suffix}"
    done("compare", "digits_dit", "small.yaml", "--runs", "seed0", "--plot", out, "--x", "params", "--y", "fid")
    if suffix == ".png":
        assert out.read_bytes().startswith(b"\x89PNG")
    else:
        text = out.read_text()
        assert "fid, less is better" in text
        assert text.startswith("<!doctype html>") == (suffix == ".html")
    if suffix == ".svg":
        ElementTree.fromstring(text)


@pytest.fixture
def broken(runs, tmp_path):
    """A run without a checkpoint, and why it cannot be judged."""
    path = shutil.copytree(runs / "seed1", tmp_path / "broken")
    for checkpoint in (path / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    gone = "holds no checkpoint, and one of step 2 was saved, as run.json says; is its disk mounted?"
    return path, f"error: {path}/checkpoints: {gone}"


def test_what_a_run_costs_that_cannot_be_judged_is_shown(broken):
    path, told = broken
    result = zoo("compare", "--runs", path, "--json")
    assert result.exit_code == 3
    (entry,) = json.loads(result.stdout)
    assert (entry["outcomes"], entry["cost"]["params"] > 0) == ([], True)
    assert result.stderr.splitlines()[-1] == told


def test_why_nothing_can_be_plotted_is_told(broken, tmp_path):
    path, told = broken
    result = zoo("compare", "--runs", path, "--json", "--plot", tmp_path / "a.svg", "--y", "fid")
    assert result.exit_code == 3
    first, last = result.stderr.splitlines()
    assert first == told
    assert last.startswith("error: --y fid: nothing has such a figure")
    (entry,) = json.loads(result.stdout)
    assert (entry["outcomes"], entry["cost"]["params"] > 0) == ([], True)


def test_what_cannot_be_compared(tmp_path):
    assert refused(zoo("compare")).startswith("zoo compare: give recipes, or --runs with the folders of runs")
    assert refused(zoo("compare", "digits_ditt")).startswith("digits_ditt: there is no such recipe; did you mean")
    assert (
        refused(zoo("compare", "--runs", "nothing"), 3) == "nothing: there is no such run; runs beside it: seed0, seed1"
    )
    told = refused(zoo("compare", "digits_dit", "--plot", "plot.pdf"))
    assert told == "plot.pdf: cannot be drawn; take a name that ends in .png, .svg, .html"
    Path("mine.svg").write_text("mine")
    assert refused(zoo("compare", "digits_dit", "--plot", "mine.svg")).startswith("mine.svg: exists already")
    told = refused(zoo("compare", "digits_dit", "--plot", tmp_path / "a.svg", "--y", "fid"))
    assert told.startswith("--y fid: nothing has such a figure")
