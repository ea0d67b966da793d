"""Labels that are no class indices are the dataset's wherever images are drawn: dummies say nothing."""

import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zoo
from tests.distributed.ranks import run_ranks
from tests.train.drawn import sample, spy, trained_on
from tests.train.small import ALONE
from tests.train.vectors import SAMPLES, PointSource, VectorConditioner, vector_registry, vectors
from zoo.callbacks.pictures import Pictures
from zoo.cli import app
from zoo.errors import DataError, SampleError
from zoo.evaluate.evaluation import evaluate
from zoo.registry import Registry
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.train.run import Run, Silent
from zoo.weights import filled

REGISTRY = vector_registry()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and the labels of the grid that it drew."""
    return trained_on(vectors(registry=REGISTRY), REGISTRY, tmp_path_factory.mktemp("runs") / "vectors")


def assert_labels_of_the_dataset(labels, count):
    """Those of as many different samples as there are."""
    assert labels.shape[1] == 2
    assert (labels[:, 1] == 1).all(), "no label of the dataset"
    assert len({tuple(each) for each in labels[:count].tolist()}) == min(count, SAMPLES)


def test_the_grids_of_a_run(trained):
    _, (labels,) = trained
    assert_labels_of_the_dataset(labels, 16)


def test_samples(trained, tmp_path, monkeypatch):
    asked = spy(monkeypatch)
    record = sample(trained[0], tmp_path / "out", vectors(registry=REGISTRY), REGISTRY)
    assert_labels_of_the_dataset(asked[0], 8)
    assert record["labels_of"] == [f"point {int(index)}" for index in asked[0][:8, 0]]
    assert "labels" not in record


def test_samples_of_rows_of_a_file(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls: REGISTRY))
    asked, rows = spy(monkeypatch), np.array([[0.5, -1.0], [2.0, 0.25], [9.0, 4.0]], np.float32)

    def drawn(name, given, *words):
        np.save(tmp_path / f"{name}.npy", given)
        own = ["--out", tmp_path / name, "--labels-file", tmp_path / f"{name}.npy"]
        result = CliRunner().invoke(app, [*map(str, ["sample", "--run", trained[0], *own, *words])])
        assert result.exit_code == 0, result.stderr
        return [path.read_bytes() for path in sorted((tmp_path / name).glob("0*.png"))]

    in_turn, by_hand = drawn("rows", rows, "--count", 4), drawn("by_hand", rows[[0, 1, 2, 0]])
    assert in_turn == by_hand
    assert len(in_turn) == 4
    assert asked[0].tolist() == rows.tolist()  # as they are, however many images
    record = json.loads((tmp_path / "rows/samples.json").read_text())
    assert (record["label_file"]["name"], record["labels"]) == ("rows.npy", None)


@pytest.mark.parametrize("choice", ["data", "balanced", "random"])
def test_evaluations(trained, monkeypatch, choice):
    asked = spy(monkeypatch)
    recipe = vectors("evaluate.count=18", f"evaluate.labels={choice}", registry=REGISTRY)
    found = evaluate(open_weights(trained[0], REGISTRY), recipe, ALONE)
    assert_labels_of_the_dataset(asked[0], 18)
    assert found.record["classes"]["generated"] is None


def test_a_dataset_that_cannot_be_opened_is_an_error_that_says_so(trained, tmp_path):
    with pytest.raises(DataError) as caught:
        sample(trained[0], tmp_path / "out", vectors("data.dataset.file=gone.npz", registry=REGISTRY), REGISTRY)
    assert str(caught.value) == (
        "the labels are no class indices, and those of the dataset cannot be read: gone.npz: there is no such file;"
        " let data.dataset say where it is, or give labels by --labels-file"
    )
    assert not (tmp_path / "out").exists()


def test_labels_of_another_form_are_told_before_anything_is_drawn(trained, tmp_path):
    with pytest.raises(DataError, match=r"does not take the labels of the dataset: labels: must be pairs \[12, 2\]"):
        sample(trained[0], tmp_path / "out", vectors("data.dataset.label_width=1", registry=REGISTRY), REGISTRY)
    assert not (tmp_path / "out").exists()


def test_a_grid_that_lacks_its_labels_is_no_end_of_a_run(trained, tmp_path, monkeypatch):
    said = []
    shutil.copytree(trained[0], tmp_path / "run")
    monkeypatch.setattr(Silent, "say", lambda self, text: said.append(text))
    session = Run(vectors("train.steps=4", registry=REGISTRY), RunFolder(tmp_path / "run"), REGISTRY, ALONE, Silent())
    draw = Pictures.step

    def without(self, training, step):
        training.recipe = vectors("data.dataset.file=gone.npz", registry=REGISTRY)
        draw(self, training, step)

    monkeypatch.setattr(Pictures, "step", without)
    assert session.train(resume=True).step == 4
    (warning,) = [each for each in said if each.startswith("warning: callback pictures: ")]
    assert "the labels are no class indices" in warning


def train_on_a_bad_label(world, path, bad):
    """Where the conditioner refuses samples that are not looked at before training."""

    def read(self, indices, random):
        samples = plain(self, indices, random)
        samples.labels[np.isin(indices, bad), 1] = -1
        return samples

    def check(self, labels, batch):
        if labels.shape != (batch, 2) or (labels < 0).any():
            raise ValueError("labels: must be pairs of 0 or more")

    plain, registry = PointSource.read, vector_registry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PointSource, "read", read)
        patch.setattr(VectorConditioner, "check_labels", check)
        recipe = vectors("train.steps=5", "sample.guidance=1", registry=registry)
        Run(recipe, RunFolder(path), registry, world, Silent()).train()


def test_a_sample_whose_label_the_conditioner_refuses_ends_training_with_its_name(tmp_path):
    found = run_ranks(train_on_a_bad_label, 2, tmp_path / "run", [14])
    assert [type(each) for each in found] == [SampleError] * 2
    assert str(found[0]) == str(found[1])
    assert str(found[0]).startswith("point 14: labels: must be pairs of 0 or more; ")
    assert """--set 'data.leave_out=["point 14"]'""" in str(found[0])


def test_labels_that_the_conditioner_refuses_of_all_samples_are_no_fault_of_single_ones(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.train.job.refuse_labels_of", lambda *_: None)
        with pytest.raises(
            DataError, match=r"does not take the labels of samples point \d+, .* and 3 more: labels: mu"
        ):
            train_on_a_bad_label(ALONE, tmp_path / "run", range(SAMPLES))


def test_in_python_they_must_be_given(trained):
    backbone = filled(open_weights(trained[0], REGISTRY), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"labels: VectorConditioner takes labels that are no class indices.*give lab"):
        zoo.sample(backbone, count=2)
    latents = zoo.sample(backbone, torch.tensor([[3.0, 1.0], [4.0, 1.0]]), steps=1)
    assert latents.shape == (2, 1, 8, 8)


def test_a_table_says_whose_labels_they_are():
    assert " 8, labels of vector, width" in vectors("backbone.num_classes=10", registry=REGISTRY).backbone.words
    assert ", 10 classes, width" in zoo.load_recipe("digits_dit").backbone.words
