"""What a run has lost of its records is taken from its checkpoints, and said; what nobody can tell is refused."""

import hashlib
import json
import os
import re
import shutil
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.train.small import ALONE, small, train
from zoo import compare, load
from zoo.assembly import load_recipe
from zoo.cli import app
from zoo.errors import RecipeError, RunError
from zoo.recipe import holds_run, recorded_in
from zoo.registry import Registry
from zoo.report.page import run_page
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder, load_run
from zoo.runs.weights import open_weights
from zoo.train.run import Run, Silent

REGISTRY = Registry()


def cut(path):
    """As a disk that is full leaves a file."""
    path.write_text(path.read_text()[: len(path.read_text()) // 2])


LOSSES = {
    "gone": (Path.unlink, "is gone"),
    "empty": (lambda path: path.write_text(""), "is damaged: lacks "),
    "zeros": (lambda path: path.write_bytes(bytes(500)), "is damaged: "),
    "cut": (cut, "is damaged: "),
    "not YAML": (lambda path: path.write_text("backbone: ["), "is damaged: not valid YAML"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is damaged: is no plain file"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe"), "is damaged: not UTF-8 text"),
}


JUDGED = ("evaluate.count=12", "evaluate.metrics=[fid]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two steps of three."""
    path = tmp_path_factory.mktemp("runs") / "small"
    recipe = small(*JUDGED, registry=REGISTRY)
    with pytest.raises(Exception, match="asked to stop, and saved after step 2"):
        Run(recipe, RunFolder(path), REGISTRY, ALONE, Silent()).train(stop_at=2)
    return path


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    """All of the three."""
    return train(tmp_path_factory.mktemp("runs") / "never stopped", *JUDGED).path


@pytest.fixture(params=LOSSES)
def lost(request, run):
    lose, told = LOSSES[request.param]
    lose(run / "recipe.yaml")
    return run, f"run/recipe.yaml: {told}"


def recorded(run):
    return load_recipe(run / "recipe.yaml", (), REGISTRY)


def plain(run):
    return recorded_in(run).tree.plain()


def test_the_recipe_is_taken_from_the_newest_checkpoint_and_said(lost, trained):
    run, told = lost
    with pytest.warns(UserWarning, match="recipe") as caught:
        found = plain(run)
    (line,) = [str(each.message) for each in caught]
    assert told in line
    assert line.endswith("; the recipe is taken from step_00000002")
    assert found == plain(trained)
    assert holds_run(run)


@pytest.mark.filterwarnings("ignore:.*the recipe is taken from")
def test_everything_that_reads_a_run_goes_on(lost):
    run, _ = lost
    open_weights(run, REGISTRY)
    load(run, registry=REGISTRY)
    run_page(load_run(run), REGISTRY)
    assert len(compare([run], registry=REGISTRY)) == 1


@pytest.mark.filterwarnings("ignore:.*the recipe is taken from")
@pytest.mark.parametrize("own", [True, False])
def test_training_goes_on_and_writes_the_recipe_anew(own, lost, trained, never_stopped):
    """With the run's own recipe, or with the one that it was begun with."""
    run, _ = lost
    folder = RunFolder(run)
    recipe = open_weights(run, REGISTRY).recipe if own else small(*JUDGED, registry=REGISTRY)
    assert Run(recipe, folder, REGISTRY, ALONE, Silent()).train(resume=True).step == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plain(run) == plain(trained)
    files = (path / "checkpoints" / "step_00000003" / "model.safetensors" for path in (run, never_stopped))
    assert len({file.read_bytes() for file in files}) == 1


def test_commands_say_it_once(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    (run / "recipe.yaml").unlink()
    line = "warning: run/recipe.yaml: is gone; the recipe is taken from step_00000002"
    for words in (
        "sample --run run --count 1 --out out",
        "report --run run",
        "eval --run run",
        "train --resume --run-dir run",
    ):
        result = CliRunner().invoke(app, words.split())
        assert result.exit_code == 0, result.stderr
        assert result.stderr.splitlines().count(line) == 1, words
    assert (run / "recipe.yaml").exists()
    assert line not in CliRunner().invoke(app, ["sample", "--run", "run", "--count", "1", "--out", "again"]).stderr


def test_a_state_that_is_damaged_is_passed_over(run):
    newest = shutil.copytree(run / "checkpoints" / "step_00000002", run / "checkpoints" / "step_00000003")
    state = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps({**state, "recipe": {"name": "another"}}))
    shutil.copytree(newest, run / "checkpoints" / "step_00000004.unsound")
    (run / "recipe.yaml").unlink()
    with pytest.warns(UserWarning, match="taken from step_00000002"):
        assert plain(run)["name"] == "small"


def test_where_no_checkpoint_tells_the_recipe(lost):
    run, told = lost
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(RunError) as caught:
        plain(run)
    assert caught.value.exit_code == 3
    if "is gone" in told:
        assert "run: holds no run (no recipe.yaml, and no checkpoint); give the folder" in str(caught.value)
        assert not holds_run(run)
    else:
        assert told in str(caught.value)
        assert str(caught.value).endswith("; there is no checkpoint to take it from")


def test_an_override_that_is_none_is_no_damage(run):
    with pytest.raises(RecipeError, match=r"write it as key\.path=value"):
        recorded_in(run, ["sample"])


@pytest.mark.parametrize("text", ["", "{", "3", "null", "\xff", "[]", "{}", "[3]"])
def test_a_damaged_list_of_starts_is_kept_aside(text, run):
    (run / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.warns(
        UserWarning, match=r"run\.json: is damaged: .*; it is kept as run\.json\.damaged, and a new list"
    ):
        Run(open_weights(run, REGISTRY).recipe, RunFolder(run), REGISTRY, ALONE, Silent()).train(resume=True)
    assert (run / "run.json.damaged").read_bytes() == text.encode("latin-1")
    assert len(json.loads((run / "run.json").read_text())) == 1


def test_a_list_of_starts_that_is_gone_begins_anew(run):
    before = json.loads((run / "run.json").read_text())[-1]["run"]
    (run / "run.json").unlink()
    with pytest.warns(UserWarning, match=r"run\.json: is gone; a new list of starts begins, and the run's id is taken"):
        Run(open_weights(run, REGISTRY).recipe, RunFolder(run), REGISTRY, ALONE, Silent()).train(resume=True)
    assert json.loads((run / "run.json").read_text())[-1]["run"] == before
    assert len(json.loads((run / "run.json").read_text())) == 1


def replace_by_link(checkpoints):
    """To a larger disk that is not mounted."""
    disk = checkpoints.parents[1] / "disk"
    disk.mkdir()
    checkpoints.symlink_to(disk)


MISSING = {"removed": lambda _: None, "an empty folder": Path.mkdir, "a link to an empty disk": replace_by_link}


@pytest.mark.parametrize("replace", MISSING.values(), ids=MISSING)
def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(replace, run):
    shutil.rmtree(run / "checkpoints")
    replace(run / "checkpoints")
    metrics = (run / "metrics.jsonl").read_bytes()
    missing = (
        f"{run}/checkpoints: holds no checkpoint, and one of step 2 was saved, as run.json says; is its disk mount"
    )
    with pytest.raises(RunError) as caught:
        Run(recorded(run), RunFolder(run), REGISTRY, ALONE, Silent()).train(resume=True)
    assert str(caught.value) == f"{missing}ed? To begin anew, remove {run} or choose another --run-dir"
    assert (run / "metrics.jsonl").read_bytes() == metrics
    assert len(json.loads((run / "run.json").read_text())) == 1
    with pytest.raises(RunError, match=re.escape(missing)):
        open_weights(run, REGISTRY)


def test_checkpoints_that_are_a_file_are_refused_at_the_start(run):
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("a file")
    with pytest.raises(RunError, match=r"run/checkpoints: is no folder; move it elsewhere"):
        Run(recorded(run), RunFolder(run), REGISTRY, ALONE, Silent()).train(resume=True)
    assert len(json.loads((run / "run.json").read_text())) == 1


def test_weights_are_drawn_and_started_from_whatever_became_of_the_optimizer(run, tmp_path):
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "optimizer.safetensors").write_text("damaged")
    assert open_weights(run, REGISTRY).source["checkpoint"] == "step_00000002"
    mend = f"begin another run from the weights of step_00000002 with train.init={run}"
    with pytest.raises(RunError, match=f"no checkpoint is sound: .*; {re.escape(mend)}$"):
        Run(recorded(run), RunFolder(run), REGISTRY, ALONE, Silent()).train(resume=True)
    assert read_metrics(train(tmp_path / "another", f"train.init={run}", "train.steps=1").metrics)


def test_a_run_that_stopped_before_its_first_checkpoint_begins_anew(tmp_path):
    """Its checkpoints cannot be written; the metrics of its steps are there."""

    def refuse(*_):
        raise RunError("full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.runs.checkpoint.save", refuse)
        with pytest.raises(RunError, match="full"):
            train(tmp_path / "run")
    assert read_metrics(train(tmp_path / "run", resume=True).metrics)[-1]["step"] == 3


def change_state(checkpoint, change):
    """And have the manifest say so."""
    state = json.loads((checkpoint / "state.json").read_text())
    change(state)
    text = json.dumps(state).encode()
    (checkpoint / "state.json").write_bytes(text)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"]["state.json"] = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


CHANGES = {
    "random state": (lambda state: state["random"][0].update(cpu="AAAA"), "random state 'cpu'"),
    "no base64": (lambda state: state["random"][0].update(cpu="A"), "state.json cannot be used: Error"),
    "no states": (lambda state: state.update(random=[3]), "state.json cannot be used: AttributeError"),
    "a number in place of the recipe": (lambda state: state.update(recipe=5), "its recipe is no mapping"),
    "a name in place of the recipe": (lambda state: state.update(recipe="sit_s_2"), "its recipe is no mapping"),
    "backbone": (lambda state: state["recipe"].update(backbone=5), "the recipe in state.json cannot be used: "),
    "skipped": (lambda state: state.update(skipped="many"), "state.json cannot be used: ValueError"),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_a_state_that_somebody_has_changed_is_refused_by_name(change, told, run):
    newest = run / "checkpoints" / "step_00000002"
    change_state(newest, change)
    with pytest.raises(RunError, match=f"^{newest}: .*{told}") as caught:
        Run(recorded(run), RunFolder(run), REGISTRY, ALONE, Silent()).train(resume=True)
    assert caught.value.exit_code == 3


def test_what_is_in_the_place_of_metrics_and_samples_is_told(run, monkeypatch):
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    (run / "samples").write_text("a file")
    monkeypatch.chdir(run.parent)
    result = CliRunner().invoke(app, ["train", "--resume", "--run-dir", "run"])
    assert result.exit_code == 0, result.output
    goes_on = "not written, and the run goes on without"
    assert f"warning: metrics.jsonl: {goes_on}: Is a directory\n" in result.stderr
    pictures = "warning: callback pictures: run/samples: is no folder; move it elsewhere; the run goes on"
    assert pictures in result.stderr, result.stderr
    assert "Errno" not in result.stderr
    assert "wrote run: checkpoints, recipe.yaml\n" in result.stderr
