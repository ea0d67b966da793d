"""``zoo report``: a page in the run's folder or elsewhere; and every refusal as one line."""

from pathlib import Path

import pytest

from tests.commands import refused, zoo
from tests.train.small import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "run")
    return folder


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    Path("run").symlink_to(runs / "run")


def test_the_page_in_the_folder_is_made_again():
    page = Path("run/report.html")
    page.write_text("old")
    result = zoo("report", "--run", "run")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote run/report.html\n")
    assert "<h1>small</h1>" in page.read_text(encoding="utf-8")


def test_out():
    result = zoo("report", "--run", "run", "--out", "page.html")
    assert (result.exit_code, result.stderr) == (0, "wrote page.html\n")
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_what_cannot_be_reported():
    Path("page.html").write_text("mine")
    told = refused(zoo("report", "--run", "run", "--out", "page.html"))
    assert told.startswith("page.html: exists already, and is left as it is")
    assert Path("page.html").read_text() == "mine"
    assert refused(zoo("report", "--run", "nothing"), 3) == "nothing: there is no such run; runs beside it: run"
    assert refused(zoo("report", "--run", "run", "--out", "no/page.html")).startswith("no/page.html: its folder does")


def test_a_recipe_that_cannot_be_built_here(tmp_path):
    Path("other").mkdir()
    Path("other/recipe.yaml").write_text("backbone: {dim: 16}\n")
    result = zoo("report", "--run", "other")
    assert result.exit_code == 3
    assert "other/recipe.yaml: is damaged: lacks objective, data, train, sample, evaluate; there is no" in result.stderr
    assert not Path("other/report.html").exists()
