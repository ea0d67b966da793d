"""A trial trains and judges once, and goes on where it was stopped."""

import os
import signal
from types import ModuleType

import pytest

import zoo
from tests.train.small import ALONE, small
from zoo.callbacks import Callback
from zoo.errors import Preempted, RunError, ZooError
from zoo.plugins import Plugin
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.runs.run_lock import RunLock
from zoo.train import trial
from zoo.train.callbacks import Callbacks, VitalError
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer
from zoo.train.trial import judge_run, train_and_judge

REGISTRY = Registry()
OPTIONS = ("train.steps=2", "train.checkpoint_every=1", "evaluate.count=12", "evaluate.metrics=[fid]")


def run(folder, *overrides, at=()):
    return train_and_judge(small(*OPTIONS, *overrides), folder, REGISTRY, ALONE, at=at)


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    first = run(tmp_path / "a", at=(1,))
    assert list(first) == [1, 2]
    assert first[1]["figures"] != first[2]["figures"]

    def again(*_, **__):
        raise AssertionError("this has been done")

    monkeypatch.setattr(Trainer, "run", again)
    monkeypatch.setattr(trial, "evaluate", again)
    assert run(tmp_path / "a", at=(1,)) == first


def test_a_trial_that_was_stopped_ends_as_one_that_was_not(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    original = Run.train
    monkeypatch.setattr(Run, "train", lambda self, **options: original(self, stop_at=1, **options))
    with pytest.raises(Preempted):
        run(tmp_path / "cut")
    monkeypatch.setattr(Run, "train", original)
    assert run(tmp_path / "cut")[2]["figures"] == whole[2]["figures"]


def test_a_stop_in_the_last_step_is_heeded(tmp_path, monkeypatch):
    """Nothing is left to save, and what comes after the training is not begun."""

    def stopped(told, step):
        original(told, step)
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    original = Callbacks._tell_of
    monkeypatch.setattr(Callbacks, "_tell_of", stopped)
    with pytest.raises(Preempted, match="is trained, and is not judged yet"):
        run(tmp_path / "a")


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """The folder of a trial that was cut off before its callbacks were told of its last step."""

    def cut_off(told, step):
        if step.step == 2:
            raise KeyboardInterrupt
        original(told, step)

    original = Callbacks._tell_of
    monkeypatch.setattr(Callbacks, "_tell_of", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a")
    monkeypatch.setattr(Callbacks, "_tell_of", original)
    assert (tmp_path / "a/untold.json").exists()
    return tmp_path / "a"


def test_callbacks_are_told_of_a_last_step_that_they_had_not_been_told_of(cut):
    run(cut)
    assert not (cut / "untold.json").exists()


def test_fewer_steps_are_judged_by_reading_alone(cut):
    recipe = (cut / "recipe.yaml").read_bytes()
    run(cut, "train.steps=1")
    assert (cut / "recipe.yaml").read_bytes() == recipe
    assert (cut / "untold.json").exists()


def test_where_callbacks_cannot_be_told_what_is_trained_is_judged_all_the_same(cut, monkeypatch):
    def refuse(*_):
        raise RunError("cannot be written to: Read-only file system")

    monkeypatch.setattr(RunFolder, "lock", refuse)
    with pytest.warns(UserWarning, match="callbacks are not told of its last step: cannot be written to: Read-only"):
        assert list(run(cut)) == [2]


def test_a_trial_that_another_process_ends_is_not_judged_beside_it(cut):
    other = RunLock(cut)
    with pytest.raises(RunError, match="is training in this folder; wait for it, or stop it"):
        run(cut)
    other.release()


def test_a_vital_callback_that_cannot_be_told_ends_the_trial_as_it_does_the_run(cut, monkeypatch):
    def fail(*_):
        raise VitalError("callback guard: has failed")

    monkeypatch.setattr(Callbacks, "_tell_of", fail)
    with pytest.raises(RunError, match="callback guard: has failed"):
        run(cut)


def test_what_cannot_be_judged_is_told_before_training(tmp_path):
    with pytest.raises(ZooError, match="evaluation compares pictures: without a VAE, pictures show three latent chann"):
        run(tmp_path / "a", "data.dataset={type: latents, folder: nowhere}")
    assert not list(tmp_path.iterdir())


@zoo.part("callback", "mine")
class Mine(Callback):
    """Does nothing."""


def with_callback(of):
    module = ModuleType("mine")
    module.zoo_parts = zoo.hookimpl(lambda: [Mine], specname="zoo_parts")
    registry = Registry()
    registry.register(module, of)
    return registry


def test_what_is_trained_is_judged_though_a_callback_is_of_a_package_by_now(tmp_path):
    options, file = (*OPTIONS, "train.callbacks=[mine]"), with_callback(Plugin("mine.py", "sha256:00"))
    Run(small(*options, registry=file), RunFolder(tmp_path / "a"), file, ALONE, Silent()).train()
    package = with_callback(Plugin("mine", "1.0"))
    assert list(train_and_judge(small(*options, registry=package), tmp_path / "a", package, ALONE)) == [2]


def test_a_folder_of_another_recipe_is_refused(tmp_path):
    run(tmp_path / "a")
    with pytest.raises(ZooError, match="was trained by another recipe"):
        run(tmp_path / "a", "train.learning_rate=0.5")


def test_a_run_that_was_judged_in_another_way_is_judged_anew(tmp_path):
    first = run(tmp_path / "a")[2]
    other = run(tmp_path / "a", "evaluate.count=18", "sample.steps=1")[2]
    assert (other["counts"]["generated"], other["sample"]["steps"]) == (18, 1)
    assert other["figures"] != first["figures"]
    assert run(tmp_path / "a")[2] == first  # which has been kept beside the other
    assert len(RunFolder(tmp_path / "a").read_evaluations()) == 2


def test_weights_that_have_changed_are_judged_anew(tmp_path):
    known, folder, recipe = run(tmp_path / "a")[2], RunFolder(tmp_path / "a"), small(*OPTIONS)
    assert judge_run(folder, recipe, REGISTRY, ALONE) == known
    folder.write_evaluation({**known, "weights_sha256": "of other weights", "figures": {"generated": {"fid": 0.0}}})
    assert judge_run(folder, recipe, REGISTRY, ALONE)["figures"] == known["figures"]


def test_a_folder_that_cannot_be_written_to_is_judged_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise RunError("evaluations: cannot be written to: Read-only file system")

    run(tmp_path / "a")
    monkeypatch.setattr(RunFolder, "write_evaluation", refuse)
    recipe = small(*OPTIONS, "evaluate.count=13")
    with pytest.warns(UserWarning, match="Read-only file system"):
        found = judge_run(RunFolder(tmp_path / "a"), recipe, REGISTRY, ALONE)
    assert found["counts"]["generated"] == 13


def test_a_damaged_checkpoint_is_passed_over_with_a_word(tmp_path):
    run(tmp_path / "a")
    folder = RunFolder(tmp_path / "a")
    (folder.checkpoints / "step_00000002" / "manifest.json").unlink()
    with pytest.warns(UserWarning, match=r"step_00000002: has no manifest.json.*; step_00000001 is taken"):
        found = judge_run(folder, small(*OPTIONS), REGISTRY, ALONE)
    assert found["checkpoint"] == "step_00000001"
