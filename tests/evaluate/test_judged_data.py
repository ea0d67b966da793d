"""Figures are beside the data that is there, whatever they were beside when a run was last judged."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.train.small import ALONE, small
from zoo.assembly import create_part
from zoo.errors import DataError, ZooError
from zoo.evaluate.evaluation_record import digest_of_real
from zoo.registry import Registry
from zoo.report.comparison import Comparison
from zoo.runs.run_folder import load_run
from zoo.train.trial import judge_run, train_and_judge

REGISTRY = Registry()


def draw(folder, name, seed, size=8):
    for index in range(12):
        path = folder / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([seed, index]).integers(0, 256, (size, size), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    for seed, name in enumerate(("cat", "dog")):
        draw(folder / "pictures", name, seed)
    train_and_judge(recipe_of(folder), folder / "run", REGISTRY, ALONE)
    return folder


@pytest.fixture
def trial(made, tmp_path):
    """A run that has been judged, and its data; with the times of the files."""
    return shutil.copytree(made, tmp_path / "trial")


def recipe_of(folder, *overrides):
    data = f"data.dataset={{type: images, folder: '{folder}/pictures', flip: false}}"
    return small("train.steps=1", "evaluate.count=12", "evaluate.metrics=[fid]", data, *overrides)


def judged(folder, *overrides):
    return judge_run(load_run(folder / "run"), recipe_of(folder, *overrides), REGISTRY, ALONE)


def again(folder, *overrides):
    return train_and_judge(recipe_of(folder, *overrides), folder / "run", REGISTRY, ALONE)[1]


def test_figures_beside_other_data_are_made_anew_and_doubted(trial):
    before = judged(trial)
    assert judged(trial) == before
    draw(trial / "pictures", "dog", 5, size=16)
    after = judged(trial)
    assert after["figures"] != before["figures"]
    assert "the data is not what was trained on: files of class 'dog' are of other sizes" in after["doubts"]
    assert judged(trial) == after
    (trial / "pictures" / "dog").rename(trial / "pictures" / "fox")
    doubts = [line for line in judged(trial)["doubts"] if line.startswith("the classes are not those of training: ")]
    assert len(doubts) == 1


def test_figures_beside_fewer_images_are_made_anew_whatever_names_them(trial):
    names = trial / "names.txt"
    names.write_text("cat/1.png\n")
    leave_out = f"data.leave_out='{names}'"
    before = judged(trial, leave_out)
    assert judged(trial, leave_out) == before
    names.write_text("cat/1.png\ndog/2.png\n")
    assert judged(trial, leave_out)["counts"]["real"] == before["counts"]["real"] - 1


def test_figures_stand_beside_a_copy_of_the_data(trial, monkeypatch):
    before = judged(trial)
    digest = digest_of_real(create_part(recipe_of(trial), "dataset"), recipe_of(trial))
    monkeypatch.setattr("zoo.train.trial.evaluate", lambda *_, **__: pytest.fail("judges again"))
    for picture in (trial / "pictures").glob("*/*"):
        os.utime(picture, (0, 0))
    assert judged(trial) == before
    assert (
        digest_of_real(create_part(recipe_of(trial), "dataset"), recipe_of(trial)) == digest
    )  # as features are kept by


def test_figures_stand_where_the_data_is_gone(trial):
    before = judged(trial)
    shutil.rmtree(trial / "pictures")
    with pytest.warns(UserWarning, match=r"run: its figures stand as they were found: .*pictures: there is no such"):
        assert judged(trial) == before
    with pytest.raises(DataError, match="there is no such folder"):
        judged(trial, "evaluate.count=13")


def test_what_is_done_on_data_that_has_changed_is_refused(trial):
    (trial / "pictures" / "dog" / "3.png").unlink()
    with pytest.raises(DataError, match="the data is not what was trained on: class 'dog' has 11 samples"):
        again(trial)


def test_what_is_done_without_other_samples_is_refused(trial):
    with pytest.raises(ZooError, match=r"by another recipe \(its values first\): data.leave_out: null and \["):
        again(trial, "data.leave_out=[cat/1.png]")


def test_what_a_file_lists_is_done_as_long_as_it_lists_the_same(trial, monkeypatch):
    names = trial / "names.txt"
    names.write_text("cat/1.png\n")
    recipe = recipe_of(trial, f"data.leave_out='{names}'")
    first = train_and_judge(recipe, trial / "other", REGISTRY, ALONE)
    with monkeypatch.context() as patch:
        patch.setattr("zoo.train.trial.evaluate", lambda *_, **__: pytest.fail("judges again"))
        assert train_and_judge(recipe, trial / "other", REGISTRY, ALONE) == first
        assert judge_run(load_run(trial / "other"), recipe, REGISTRY, ALONE) == first[1]
    names.write_text("cat/2.png\n")
    with pytest.raises(ZooError, match="by another recipe"):
        train_and_judge(recipe, trial / "other", REGISTRY, ALONE)


def test_runs_that_left_out_other_samples_are_no_repetitions(trial):
    other = recipe_of(trial, "data.leave_out=[cat/1.png]")
    train_and_judge(other, trial / "other", REGISTRY, ALONE)
    runs = [load_run(trial / "run"), load_run(trial / "other")]
    assert len(Comparison([], runs, (), REGISTRY, ALONE)) == 2


def test_a_comparison_shows_doubts(trial):
    (entry,) = Comparison([], [load_run(trial / "run")], (), REGISTRY, ALONE).entries()
    assert any(line.startswith("no floor, figures of real images") for line in entry.outcomes[0].doubts)
