"""``zoo sweep``: a grid counted and trained, combinations that cannot be built, and going on."""

import json
from pathlib import Path

import pytest

from tests.commands import done, zoo
from tests.train.small import VALUES
from zoo.recipe import to_yaml
from zoo.train.trainer import Trainer


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(to_yaml({**VALUES, "evaluate": {"count": 12, "metrics": ["fid"]}}))


def test_every_combination_is_counted():
    result = zoo(
        "sweep", "-r", "small.yaml", "--vary", "backbone.upsampler=linear,linear_mlp",
        "--vary", "backbone.class_conditioner.tokens=1", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    entries = json.loads(result.stdout)
    assert [entry["name"] for entry in entries] == ["upsampler=linear, tokens=1", "upsampler=linear_mlp, tokens=1"]
    assert entries[0]["cost"]["macs"] < entries[1]["cost"]["macs"]
    assert not Path("runs").exists()


def test_all_parts_of_a_slot_and_what_all_leaves_out():
    result = done("sweep", "-r", "small.yaml", "--vary", "backbone.block.mlp=all", "--vary", "backbone.router=all")
    left_out, *lines = result.stderr.splitlines()
    assert left_out.startswith("--vary backbone.router=all: leaves out tread (needs first and stop); ")
    assert lines == ["1/2 mlp=gelu, router=none: done", "2/2 mlp=swiglu, router=none: done"]


def test_an_override_of_a_part_that_is_varied_holds_where_that_part_stands():
    arguments = ("sweep", "-r", "small.yaml", "--set", "backbone.time_embedder={type: fno, blocks: 2}", "--json")
    result = done(*arguments, "--set", "backbone.time_embedder.modes=3", "--vary", "backbone.time_embedder=all")
    found = {entry["name"]: entry["cost"]["macs"] for entry in json.loads(result.stdout)}
    other = json.loads(zoo(*arguments, "--vary", "backbone.time_embedder=all").stdout)
    assert [entry["name"] for entry in other if entry["cost"]["macs"] != found[entry["name"]]] == ["time_embedder=fno"]


@pytest.mark.parametrize("key", ["backbone.time_embedder", "backbone.time_embedder.type"])
def test_an_override_that_no_combination_keeps_is_refused_once(key):
    overrides = ("--set", "backbone.time_embedder.frequencies=32")
    result = zoo("sweep", "-r", "small.yaml", *overrides, "--vary", f"{key}=fno,fourier")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: --set backbone.time_embedder.frequencies=32: would be lost, since no value of --vary {key} keeps it;"
        " leave it out, or write it into one, such as {type: NAME, option: value}\n"
    )


def test_a_varied_value_that_another_would_lose_is_told_as_it_was_written():
    result = zoo(
        "sweep", "-r", "small.yaml", "--vary", "backbone.time_embedder.frequencies=32,64",
        "--vary", "backbone.time_embedder=fno",
    )  # fmt: skip
    assert result.exit_code == 2
    assert (
        "--vary backbone.time_embedder.frequencies=32: would be lost, since --vary backbone.time_embedder=fno comes"
        " after it and replaces backbone.time_embedder whole; write it after that"
    ) in result.stderr


def test_a_combination_that_cannot_be_built_is_told_and_the_others_go_on():
    result = zoo("sweep", "-r", "small.yaml", "--vary", "backbone.heads=2,3")
    assert result.exit_code == 2
    good, bad, end = result.stderr.splitlines()
    assert end == "error: 1 of 2 failed: heads=3"
    assert good == "1/2 heads=2: done"
    assert bad.startswith("2/2 heads=3: small.yaml:")
    assert "dim 16 is not divisible by heads 3" in bad
    assert "heads=2" in result.stdout
    assert "heads=3" not in result.stdout


def test_a_recipe_that_only_its_combinations_make_whole():
    result = done("sweep", "-r", "small.yaml", "--set", "backbone.heads=3", "--vary", "backbone.dim=12,24", "--json")
    assert [entry["name"] for entry in json.loads(result.stdout)] == ["dim=12", "dim=24"]


def test_nothing_that_can_be_built():
    result = zoo("sweep", "-r", "small.yaml", "--vary", "backbone.heads=3")
    assert result.exit_code == 2
    assert (
        result.stderr.splitlines()[-1]
        == "error: small: no combination can be built and counted; what is wrong with each stands above"
    )


def test_combinations_are_trained_and_judged_once(monkeypatch):
    arguments = ("sweep", "-r", "small.yaml", "--vary", "train.learning_rate=0.01,0.02", "--train", "--json")
    first = zoo(*arguments)
    assert first.exit_code == 0, first.stderr
    entries = json.loads(first.stdout)
    runs = [entry["outcomes"][0]["run"] for entry in entries]
    assert runs == [f"runs/sweep_small/learning_rate={rate}" for rate in ("0.01", "0.02")]
    assert all(entry["figures"]["fid"]["mean"] > 0 for entry in entries)
    monkeypatch.setattr(Trainer, "run", lambda *_, **__: pytest.fail("this has been trained"))
    assert zoo(*arguments).stdout == first.stdout


def test_a_combination_that_cannot_be_trained_keeps_its_cost():
    rates = "train.learning_rate=0.01,1.0e+30"
    result = zoo("sweep", "-r", "small.yaml", "--vary", rates, "--train", "--json", "--set", "train.clip=null")
    assert result.exit_code == 5
    good, bad = json.loads(result.stdout)
    assert len(good["outcomes"]) == 1
    assert bad["outcomes"] == []
    assert bad["cost"] == good["cost"]
    assert "is not finite" in result.stderr.splitlines()[-2]
    assert result.stderr.splitlines()[-1] == "error: 1 of 2 failed: learning_rate=1.0e+30"


def test_a_sweep_of_which_nothing_can_be_trained_fails_as_the_first_does():
    arguments = ("--vary", "train.learning_rate=1.0e+30", "--set", "train.clip=null", "--train")
    result = zoo("sweep", "-r", "small.yaml", *arguments)
    assert result.exit_code == 5
    assert "learning_rate=1.0e+30" in result.stdout  # what it costs is told


def test_a_run_of_another_recipe_is_not_taken_for_this_one():
    arguments = ("sweep", "-r", "small.yaml", "--vary", "train.warmup=0", "--train", "--json")
    done(*arguments)
    result = zoo(*arguments, "--set", "train.learning_rate=0.5")
    assert result.exit_code == 2
    assert "was trained by another recipe" in result.stderr
    judged_anew = zoo(*arguments, "--set", "sample.steps=1")
    assert json.loads(judged_anew.stdout)[0]["cost"]["passes"] == 1


def test_a_name_that_cannot_be_a_folder_is_refused():
    result = zoo("sweep", "-r", "small.yaml", "--set", "name=../out", "--vary", "train.warmup=0", "--train")
    assert result.exit_code == 2
    assert "cannot be a folder's" in result.stderr


def test_runs_have_a_folder_only_if_there_are_runs():
    result = zoo("sweep", "-r", "small.yaml", "--vary", "backbone.heads=1,2", "--out", "kept")
    assert result.exit_code == 2
    assert result.stderr == "error: --out kept: is of the runs; give --train, or leave it out\n"


def test_a_key_that_is_no_part_has_no_all():
    result = zoo("sweep", "-r", "small.yaml", "--vary", "backbone.depth=all")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --vary backbone.depth=all: `all` stands for the parts of a kind")
