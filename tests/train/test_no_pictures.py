"""Latents that are no pictures: a run trains on them without grids, and what needs pictures says so."""

from typing import Any

import pytest
import torch

import zoo
from tests.data.waves import CLASSES, wave_registry
from tests.train.small import ALONE, VALUES, Said
from zoo.assembly import load_recipe
from zoo.data import Dataset
from zoo.errors import ZooError
from zoo.evaluate.beside import features_for
from zoo.evaluate.evaluation import evaluate
from zoo.recipe import Recipe
from zoo.runs.metrics_file import read_metrics
from zoo.runs.run_folder import RunFolder
from zoo.runs.weights import open_weights
from zoo.sampling.images import SampleRun, draw_samples
from zoo.train.run import Run
from zoo.train.trial import train_and_judge

REGISTRY = wave_registry()


def waves(*overrides: str) -> Recipe:
    backbone = {**VALUES["backbone"], "num_classes": CLASSES}
    values: dict[str, Any] = {**VALUES, "backbone": backbone, "data": {"dataset": "waves"}}
    return load_recipe(values, overrides, REGISTRY)


@pytest.fixture(scope="module")
def waved(tmp_path_factory):
    """The folder of a run, and what it said."""
    path, heard = tmp_path_factory.mktemp("runs") / "waves", Said()
    recipe = waves("train.callbacks=[{type: pictures, every: 1}]", "data.normalize=per_channel")
    Run(recipe, RunFolder(path), REGISTRY, ALONE, heard).train()
    return path, heard.said


def test_a_run_goes_on_without_grids_and_says_so_once(waved):
    path, said = waved
    assert said == ["note: dataset waves makes no pictures; no grids are drawn"]
    assert not (path / "samples").exists()
    assert RunFolder(path).loss_curve.is_file()
    assert [line["step"] for line in read_metrics(RunFolder(path).metrics)] == [1, 2, 3]


def test_its_latents_can_be_drawn_in_python(waved):
    latents = zoo.sample(zoo.load(waved[0], registry=REGISTRY), labels=[2, 0], steps=2)
    assert latents.shape == (2, 1, 8, 8)


def test_samples_are_refused_before_a_folder_is_made(waved, tmp_path):
    request = SampleRun(waved[0], tmp_path / "out", "ema", (), 4, 0, False)
    with pytest.raises(ZooError) as refused:
        draw_samples(request, waves(), REGISTRY, ALONE)
    assert str(refused.value) == (
        "small: zoo sample writes pictures, and dataset waves makes none of its latents; draw latents in Python, by"
        " zoo.sample"
    )
    assert not (tmp_path / "out").exists()


def test_evaluations_are_refused(waved):
    told = (
        "^small: evaluation compares pictures, and dataset waves makes none of its latents; choose a dataset that does$"
    )
    with pytest.raises(ZooError, match=told):
        features_for(waves())
    with pytest.raises(ZooError, match=told):
        evaluate(open_weights(waved[0], REGISTRY), waves(), ALONE)


def test_a_trial_is_refused_before_it_trains(tmp_path):
    with pytest.raises(ZooError, match="evaluation compares pictures"):
        train_and_judge(waves(), tmp_path / "run", REGISTRY, ALONE)
    assert not list(tmp_path.iterdir())


def test_a_dataset_makes_pictures_where_it_has_a_way_to():
    class Shown(Dataset):
        def open(self, split="train"):
            raise AssertionError

        def to_images(self, latents):
            return torch.zeros(len(latents), 1, 1, 1, dtype=torch.uint8)

    assert Shown().makes_images
    assert not waves().data.dataset.create({"channels": 1, "size": (8, 8)}).makes_images
