"""The run folder: one run at a time, nothing overwritten, and a recipe that trains the same again."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.runs.written import Crash, folder_of
from tests.train.small import VALUES, small
from zoo.assembly import load_recipe
from zoo.errors import RunError, ZooError
from zoo.recipe import absolute
from zoo.runs.run_folder import RunFolder, load_run
from zoo.runs.weights import find_weights

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.y*ml"))


def test_a_new_folder_is_made_with_all_above_it(tmp_path, registry):
    folder = folder_of(tmp_path / "a" / "b", registry)
    assert folder.is_used
    assert load_run(tmp_path / "a" / "b").path == folder.path
    assert {each.name for each in folder.path.iterdir()} == {".lock", "recipe.yaml", "run.json"}


def test_a_folder_with_a_run_is_not_used_again(tmp_path, registry):
    folder_of(tmp_path, registry)
    before = (tmp_path / "recipe.yaml").read_bytes()
    with pytest.raises(ZooError) as caught:
        RunFolder(tmp_path).create()
    assert (
        str(caught.value) == f"{tmp_path}: holds a run already; go on with it by --resume, or choose another --run-dir"
    )
    assert caught.value.exit_code == 2
    assert (tmp_path / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize("name", ["notes.txt", "checkpoints", ".hidden"])
def test_a_folder_with_anything_else_is_not_used(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(ZooError, match="is not empty, and holds no run; choose another --run-dir"):
        RunFolder(tmp_path).create()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ZooError):
        RunFolder(tmp_path / "file").create()
    with pytest.raises(RunError, match="the run folder cannot be made: Not a directory"):
        RunFolder(tmp_path / "file" / "below").create()


def test_what_a_crash_before_the_first_line_left_is_no_hindrance(tmp_path):
    """On this machine or another, and where nothing can be locked."""
    (tmp_path / ".lock").touch()
    for name in (".recipe.yaml.node-1.0", ".recipe.yaml.another.1", ".run.json.node-1.0", ".run.json.0123456789abcdef"):
        (tmp_path / f"{name}.unfinished").mkdir()
    folder = RunFolder(tmp_path)
    folder.create()
    assert not folder.is_used


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_a_crash_while_the_first_files_are_written(point, call, tmp_path, registry, monkeypatch):
    """There is a run that can be gone on with, or none, and the folder can be used; never something in between."""
    owner, real = (os, os.fsync) if point == "fsync" else (Path, Path.replace)
    calls = []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise Crash
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, point, crash)
        with pytest.raises(Crash):
            folder_of(tmp_path, registry)
    folder = RunFolder(tmp_path)
    assert folder.is_used == (call == 1)
    folder.lock() if folder.is_used else folder.create()
    folder.write(small(registry=registry))
    folder.unlock()
    assert load_recipe(folder.recipe, (), registry) == small(registry=registry)
    assert len(json.loads(folder.versions.read_text())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="the run folder cannot be made: Permission denied"):
            RunFolder(tmp_path / "run").create()
        with pytest.raises(RunError, match="the folder cannot be locked: Permission denied"):
            RunFolder(tmp_path).lock()
    finally:
        tmp_path.chmod(0o700)


def test_versions_are_recorded_for_every_start(tmp_path, registry, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["zoo", "train", "--resume"])
    folder = folder_of(tmp_path, registry)
    folder.write(small(registry=registry))
    runs = json.loads(folder.versions.read_text())
    assert len(runs) == 2
    for run in runs:
        assert run.keys() == {"run", "versions", "python", "machine", "command"}
        assert run["versions"]["packages"].keys() == {"zoo", "torch"}
        assert run["command"] == ["zoo", "train", "--resume"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recorded_recipe_is_the_recipe(path, tmp_path, registry):
    recipe = absolute(load_recipe(path, (), registry))  # as a run makes it, since paths are relative to the file
    folder = folder_of(tmp_path, registry, recipe)
    assert load_recipe(folder.recipe, (), registry).resolved() == recipe.resolved()


def test_all_recipes_are_found():
    assert len(RECIPES) >= 50


@pytest.mark.parametrize(
    "name",
    ["1e3", "0o17", "1e-4", "no", "~", "null", "1:30", ".5", "-.5e3", "+1", "a: b", "# x", " a ", "größe", "a\nb: c",
     "a\r\nb", "\x07", "\u2028", "'", '"', "{a}", "x" * 200, "two words " * 15],
)  # fmt: skip
def test_names_that_yaml_could_take_for_something_else(name, tmp_path, registry):
    recipe = load_recipe({**VALUES, "name": name}, (), registry)
    folder = folder_of(tmp_path, registry, recipe)
    assert load_recipe(folder.recipe, (), registry).resolved() == recipe.resolved()
    assert folder.recipe.read_text(encoding="utf-8").splitlines()[0].startswith("# ")


def test_plain_yaml_would_read_some_of_these_wrongly():
    """The law above has something to catch."""
    from zoo.recipe.source import parse_yaml

    assert parse_yaml(yaml.safe_dump({"name": "1e3"}), "here").plain() == {"name": 1000.0}


def test_the_first_line_is_the_command_that_goes_on(tmp_path, registry):
    folder = folder_of(tmp_path / "with blank", registry)
    line = folder.recipe.read_text().splitlines()[0]
    assert line == f"# small, in full.   zoo train --resume --run-dir '{tmp_path / 'with blank'}'"


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_holds_no_run_is_told(make, tmp_path):
    make(tmp_path / "x")
    with pytest.raises(
        RunError, match=r"x: holds no run \(no recipe.yaml, and no checkpoint\); give the folder that `zoo"
    ):
        load_run(tmp_path / "x")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(RunError, match=r"x: there is no such run$"):
        load_run(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "told"), [("digits_dti", "; did you mean 'digits_dit'?"), ("typo", "; runs beside it: demo, digits_dit")]
)
def test_where_there_is_no_run_those_beside_are_told(tmp_path, name, told):
    for run in ("digits_dit", "demo", "typos"):
        (tmp_path / run).mkdir()
        if run != "typos":
            (tmp_path / run / "recipe.yaml").touch()
    for find, wanted in ((load_run, "run"), (find_weights, "weight file or run")):
        with pytest.raises(ZooError) as caught:
            find(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: there is no such {wanted}{told}"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"figures"', '{"figures": {}, "checkpoint": "step_00000001"}'])
def test_an_evaluation_that_is_none_of_ours_is_passed_over(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.evaluations.mkdir()
    (folder.evaluations / "step_00000001-aaaaaaaa.json").write_text(text)
    assert folder.read_evaluations() == []


def test_evaluations_come_by_step_and_those_of_another_way_stay(tmp_path):
    folder = RunFolder(tmp_path)
    for checkpoint, steps, fid in (("step_00000020", 5, 1.0), ("step_00000003", 5, 2.0), ("step_00000020", 6, 3.0)):
        found = {
            "figures": {"generated": {"fid": fid}}, "counts": {"generated": 10, "real": 20}, "checkpoint": checkpoint,
            "weights": "ema", "weights_sha256": "", "data": {}, "drawing": {"images_per_second": 1.0}, "libraries": {},
            "sample": {"solver": {"type": "euler"}, "steps": steps, "guidance": {"type": "classifier_free"}},
            "evaluate": {"features": {"type": "digits"}, "metrics": [], "reference": "train"},
            "doubts": [], "seed": 0, "zoo": "1",
        }  # fmt: skip
        folder.write_evaluation(found)
        folder.write_evaluation({**found, "weights": "raw"})
        folder.write_evaluation(found)
    assert [each["figures"]["generated"]["fid"] for each in folder.read_evaluations()] == [2.0, 1.0, 3.0]
    assert len(list(folder.evaluations.iterdir())) == 6
