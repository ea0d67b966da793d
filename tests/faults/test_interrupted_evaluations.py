"""An evaluation that was interrupted is gone on with, to the figures of one that nobody interrupts."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.distributed.ranks import run_ranks
from tests.train.small import ALONE, small, train
from zoo import files
from zoo.cli import app
from zoo.errors import RunError
from zoo.evaluate.evaluation import evaluate
from zoo.evaluate.kept_features import KeptFeatures
from zoo.registry import Registry
from zoo.runs.kept_places import forget_others
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.sampling.sampler import Sampler

REGISTRY = Registry()


@pytest.fixture(scope="module")
def whole(trained):
    return judge(ALONE, trained, None)[0]


def judge(world, path, place, *overrides, resume=False, stop_before=None, seed=0):
    """Figures of 20 images in four batches, and the batches that were drawn for them."""
    images, drawn = Sampler.images, []

    def listen(self, backbone, labels, batch, count=None):
        if batch == stop_before:
            raise RunError("stopped")
        drawn.append(batch)
        return images(self, backbone, labels, batch, count)

    Sampler.images = listen
    try:
        recipe = small("evaluate.count=20", "evaluate.metrics=[fid, accuracy]", *overrides)
        weights = open_weights(path, REGISTRY)
        found = evaluate(weights, recipe, world, seed=seed, kept=KeptFeatures(place), resume=resume)
        return {"figures": found.figures, "counts": found.record["counts"], "classes": found.record["classes"]}, drawn
    finally:
        Sampler.images = images


def interrupted(path, place, before, *overrides):
    with pytest.raises(RunError, match="stopped"):
        judge(ALONE, path, place, *overrides, stop_before=before)
    return place


@pytest.mark.parametrize("before", range(4))
def test_what_is_missing_is_drawn_and_nothing_else(before, trained, whole, tmp_path, recwarn):
    place = interrupted(trained, tmp_path / "evaluations", before)
    found, drawn = judge(ALONE, trained, place, resume=True)
    assert found == whole
    assert drawn == list(range(before, 4))
    assert list(place.iterdir()) == []
    assert any("no evaluation" in str(each.message) for each in recwarn) == (before == 0)


def test_features_that_are_damaged_are_drawn_again(trained, whole, tmp_path):
    place = interrupted(trained, tmp_path, 3)
    (folder,) = place.iterdir()
    (folder / "000000.safetensors").write_bytes(b"")
    (folder / "000001.safetensors").write_bytes((folder / "000001.safetensors").read_bytes()[:-5])
    assert judge(ALONE, trained, place, resume=True) == (whole, [0, 1, 3])


@pytest.mark.parametrize(
    "overrides", [("sample.steps=3",), ("evaluate.count=21",), ("evaluate.features={type: pca, components: 8}",)]
)
def test_what_is_asked_otherwise_is_another_evaluation(overrides, trained, tmp_path):
    place = interrupted(trained, tmp_path, 2)
    with pytest.warns(UserWarning, match="no evaluation of these weights in this way, beside this data, has"):
        _, drawn = judge(ALONE, trained, place, *overrides, resume=True)
    assert drawn == [0, 1, 2, 3]


def test_other_real_images_are_another_evaluation(trained, tmp_path):
    """Features may be fitted to them: of two fits they cannot stand side by side."""
    for index in range(24):
        picture = tmp_path / "pictures" / "ab"[index % 2] / f"{index}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)).save(picture)
    data = f"data.dataset={{type: images, folder: '{tmp_path}/pictures'}}"
    place = interrupted(trained, tmp_path / "kept", 2, data)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(picture)
    with pytest.warns(UserWarning, match="in this way, beside this data, has begun; all images are drawn"):
        _, drawn = judge(ALONE, trained, place, data, resume=True)
    assert drawn == [0, 1, 2, 3]


def test_how_many_processes_read_the_data_changes_nothing(trained, whole, tmp_path):
    place = interrupted(trained, tmp_path, 2)
    assert judge(ALONE, trained, place, "data.workers=2", resume=True) == (whole, [2, 3])


def test_without_resume_all_is_drawn(trained, whole, tmp_path):
    place = interrupted(trained, tmp_path, 2)
    assert judge(ALONE, trained, place) == (whole, [0, 1, 2, 3])


def test_two_processes_go_on_with_what_one_began(trained, whole, tmp_path):
    place = interrupted(trained, tmp_path, 3)
    (first, drawn), (second, rest) = run_ranks(lambda world: judge(world, trained, place, resume=True), 2)
    assert first == second == whole
    assert (drawn, rest) == ([], [3])


def test_what_is_kept_goes_with_its_checkpoint(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    place = interrupted(run, run / "evaluations", 2)
    (of_three,) = place.iterdir()
    of_two = of_three.rename(place / of_three.name.replace("step_00000003", "step_00000002"))
    assert of_two != of_three
    shutil.copytree(of_two, of_three)
    shutil.copytree(of_two, place / ".0123456789abcdef.unfinished")  # of a weight file
    train(run, "train.steps=4", "train.keep_last=2", resume=True)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step_00000003", "step_00000004"]
    assert sorted(path.name for path in place.iterdir()) == [".0123456789abcdef.unfinished", of_three.name]


def test_figures_that_are_being_written_stay_while_checkpoints_go(tmp_path):
    def content(file):
        file.write(b"figures")
        forget_others(tmp_path, ["step_00000020"])

    files.write_whole(tmp_path / "step_00000010-0123abcd.json", content, RunError)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["figures"]


def test_a_checkpoint_that_a_file_names_is_no_path(tmp_path):
    kept = KeptFeatures(tmp_path / "place")
    kept.begin({}, resume=False, checkpoint="../step_1")
    assert [path.parent for path in tmp_path.rglob(".*")] == [tmp_path / "place"]


def test_a_place_that_cannot_be_written_to_ends_nothing(trained, whole, tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="if it is interrupted, this evaluation cannot be gone on with"):
        assert judge(ALONE, trained, tmp_path / "file")[0] == whole


def test_a_full_disk_costs_no_drawing_and_is_told(trained, whole, tmp_path, monkeypatch):
    run, out = shutil.copytree(trained, tmp_path / "run"), tmp_path / "figures.json"
    words = ["eval", "--run", str(run), "--out", str(out), "--count", "20", "--set", "evaluate.metrics=[fid, accuracy]"]

    def refused(path, *_, **__):
        raise RunError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(files, "write_whole", refused)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1] == (
        f"error: {out}: cannot be written: No space left on device; what has been drawn is kept: mend it, and add"
        " --resume --step 3 to go on"
    )
    monkeypatch.undo()
    monkeypatch.setattr(Sampler, "images", lambda *_: pytest.fail("draws again"))
    result = CliRunner().invoke(app, [*words, "--resume"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(out.read_text())["figures"] == whole["figures"]


def test_a_record_that_cannot_be_written_costs_no_drawing_and_is_told(trained, whole, tmp_path, monkeypatch):
    run = RunFolder(shutil.copytree(trained, tmp_path / "run"))
    words = ["eval", "--run", str(run.path), "--count", "20", "--set", "evaluate.metrics=[fid, accuracy]"]

    def refused(path, *_, **__):
        raise RunError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr("zoo.runs.run_folder.write_whole", refused)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].endswith(
        ".json: cannot be written: No space left on device; what has been drawn is kept: mend it, and add"
        " --resume --step 3 to go on"
    )
    assert "fid" in result.stdout
    monkeypatch.undo()
    monkeypatch.setattr(Sampler, "images", lambda *_: pytest.fail("draws again"))
    result = CliRunner().invoke(app, [*words, "--resume"])
    assert result.exit_code == 0, result.stderr
    (found,) = run.read_evaluations()
    assert found["figures"] == whole["figures"]
    assert len(list(run.evaluations.iterdir())) == 1
