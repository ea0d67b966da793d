"""What the callbacks ask of the libraries, on stand-ins for them."""

import sys

import numpy as np
import pytest

from fakes import FakeMLflow, FakeWandB, Training
from zoo_trackers.mlflow import MLflow
from zoo_trackers.wandb import WandB

IMAGE = np.zeros((4, 6, 1), np.uint8)


def line(step, **more):
    return {"step": step, "loss": 1.0 / step, "stage_errors": [0.5], "skipped": "a text is no number", **more}


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


@pytest.fixture
def mlflow(monkeypatch):
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return fake


def test_wandb_has_the_run_with_its_recipe(wandb, tmp_path):
    training = Training(tmp_path, step=4)
    callback = WandB(project="mine", tags=("a", "b"))
    callback.begin(training)
    callback.log(training, line(4, validate={"loss": 2.0}))
    callback.show(training, "samples", IMAGE)
    training.step = 10
    callback.end(training, None)
    asked = wandb.asked
    assert [asked[key] for key in ("project", "id", "name", "tags")] == ["mine", "0123abcd", "lr3", ["a", "b"]]
    assert (asked["resume"], asked["config"], asked["dir"]) == ("allow", training.recipe.resolved(), tmp_path)
    assert wandb.lines == [
        (4, {"loss": 0.25, "stage_errors/0": 0.5, "validate/loss": 2.0}),
        (4, {"samples": ("image", (4, 6, 1))}),
    ]
    assert wandb.ended == [0]
    assert training.said == ["note: W&B: https://there"]


@pytest.mark.parametrize(
    ("step", "error", "wandb_ends", "mlflow_ends"),
    [(10, None, [0], "FINISHED"), (5, None, ["preempting", 75], "KILLED"), (5, ValueError("nan"), [1], "FAILED")],
)
def test_how_it_ends(wandb, mlflow, tmp_path, step, error, wandb_ends, mlflow_ends):
    training = Training(tmp_path)
    for callback in (WandB(), MLflow()):
        training.step = 0
        callback.begin(training)
        training.step = step
        callback.end(training, error)
    assert (wandb.ended, mlflow.status) == (wandb_ends, mlflow_ends)


def test_wandb_without_a_login_is_told_and_left_out(wandb, tmp_path):
    wandb.logged_in = False
    training = Training(tmp_path)
    callback = WandB()
    callback.begin(training)
    callback.log(training, line(1))
    callback.show(training, "samples", IMAGE)
    callback.end(training, None)
    assert training.said == ["warning: W&B: not logged in: wandb login, or mode: offline; the run goes on without it"]
    assert (wandb.asked, wandb.lines, wandb.ended) == ({}, [], [])


@pytest.mark.parametrize(("option", "settings"), [("offline", "online"), (None, "offline")])
def test_wandb_offline_asks_for_no_login(wandb, tmp_path, option, settings):
    wandb.logged_in, wandb.mode = False, settings
    training = Training(tmp_path)
    WandB(mode=option).begin(training)
    assert training.said == ["note: W&B: run/wandb/offline-run"]
    assert (wandb.asked["mode"], wandb.asked["resume"]) == (option, None)


@pytest.mark.parametrize(
    ("every", "sent"), [(None, [2, 4, 6, 8, 10]), (1, [2, 4, 6, 8, 10]), (3, [4, 6, 10]), (7, [8, 10])]
)
def test_lines_of_updates_are_thinned_and_those_of_callbacks_are_not(wandb, tmp_path, every, sent):
    training = Training(tmp_path)
    callback = WandB(every=every)
    callback.begin(training)
    for step in range(2, 11, 2):
        callback.log(training, line(step))
    callback.log(training, {"step": 5, "validate": {"loss": 1.0}})
    assert [step for step, _ in wandb.lines] == [*sent, 5]


def test_mlflow_has_the_run_with_its_recipe(mlflow, tmp_path):
    training = Training(tmp_path)
    callback = MLflow(experiment="mine", tags=("first", "width=16"))
    callback.begin(training)
    training.step = 2
    callback.log(training, line(2))
    callback.show(training, "samples", IMAGE)
    assert (mlflow.experiments, mlflow.runs) == (["mine"], ["lr3"])
    assert mlflow.tags == {"zoo.run": "0123abcd", "first": "true", "width": "16"}
    assert mlflow.params == {"name": "tiny", "train.steps": "10", "train.ema": "[0.9, 0.99]"}
    assert [(each.key, each.value, each.step) for each in mlflow.metrics] == [
        ("loss", 0.5, 2),
        ("stage_errors/0", 0.5, 2),
    ]
    assert mlflow.images == [("samples", 2)]


def test_mlflow_goes_on_with_the_run_and_has_no_step_twice(mlflow, tmp_path):
    first = MLflow()
    first.begin(Training(tmp_path))
    for step in (2, 4):
        first.log(Training(tmp_path, step), line(step))
    again = Training(tmp_path, 2, steps=20)
    second = MLflow()
    second.begin(again)
    for step in (4, 6):
        second.log(again, line(step, late=1.0))
    assert (len(mlflow.runs), mlflow.status) == (1, "RUNNING")
    assert [each.step for each in mlflow.metrics if each.key == "loss"] == [2, 4, 6]
    assert [each.step for each in mlflow.metrics if each.key == "late"] == [4, 6]
    assert (mlflow.params["train.steps"], mlflow.tags["train.steps"]) == ("10", "20")


def test_mlflow_that_cannot_be_reached_is_told_and_left_out(mlflow, tmp_path):
    mlflow.down = True
    training = Training(tmp_path)
    callback = MLflow()
    callback.begin(training)
    callback.log(training, line(1))
    callback.end(training, None)
    assert training.said == ["warning: MLflow: cannot be reached; the run goes on without it"]


def test_mlflow_sends_later_what_it_could_not_send(mlflow, tmp_path):
    training = Training(tmp_path)
    callback = MLflow()
    callback.begin(training)
    mlflow.down = True
    with pytest.raises(FakeMLflow.MlflowException):
        callback.log(training, line(2))
    mlflow.down = False
    callback.log(training, line(4))
    assert [each.step for each in mlflow.metrics if each.key == "loss"] == [2, 4]


@pytest.mark.parametrize(("callback", "name"), [(WandB, "wandb"), (MLflow, "mlflow")])
def test_a_library_that_is_missing_is_told_with_the_command(monkeypatch, tmp_path, callback, name):
    class Nowhere:
        def find_spec(self, wanted, path=None, target=None):
            if wanted == name:
                raise ModuleNotFoundError(name=name)

    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Nowhere(), *sys.meta_path])
    with pytest.raises(
        ImportError, match=rf"^{name} is not installed; pip install 'diffusion-zoo-trackers\[{name}\]'$"
    ):
        callback().begin(Training(tmp_path))
