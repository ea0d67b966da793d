"""A perfect generator is judged perfect, however uneven the classes are: its classes are mixed as the real ones."""

from types import ModuleType

import numpy as np
import pytest
import torch

import zoo
from tests.train.small import ALONE, small, train
from zoo.data import Dataset, Samples, Source
from zoo.data.pixels import to_pixels
from zoo.evaluate.evaluation import evaluate
from zoo.evaluate.judging import rows_of_classes
from zoo.plugins import Plugin
from zoo.registry import Registry
from zoo.runs.judged import GENERATED, HELD_OUT, REAL
from zoo.runs.weights import open_weights
from zoo.sampling.sampler import Sampler

RARE, COUNT = 8, 200


def latents_of(labels, seed):
    """Dark pictures of class 0 and bright ones of class 1, with noise."""
    noise = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return labels[:, None, None, None] - 0.5 + 0.1 * noise


@zoo.part("dataset", "uneven")
class Uneven(Dataset):
    """192 pictures of class 0 and 8 of class 1, in either split."""

    def open(self, split="train"):
        return UnevenSource(split)

    def to_images(self, latents):
        return to_pixels(latents)


class UnevenSource(Source):
    def __init__(self, split):
        self.class_of = (torch.arange(COUNT) >= COUNT - RARE).long()
        self.latents = latents_of(self.class_of, {"train": 1, "held_out": 2}[split])

    def __len__(self):
        return COUNT

    def read(self, indices, random):
        rows = torch.from_numpy(indices)
        return Samples(self.latents[rows], self.class_of[rows])

    def id(self, index):
        return str(index)


@pytest.fixture(scope="module")
def mixed():
    module = ModuleType("uneven")
    module.zoo_parts = zoo.hookimpl(lambda: [Uneven], specname="zoo_parts")
    registry = Registry()
    registry.register(module, Plugin("uneven", "1"))
    return registry


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "small", "train.steps=1", "backbone.num_classes=10").path


@pytest.fixture
def judge(mixed, path, monkeypatch):
    def perfect(self, backbone, labels, batch, count):
        first = batch * self.batch
        pictures = to_pixels(latents_of(labels, 3)[first : min(first + self.batch, count)])
        return list(pictures.numpy())

    def judged(*overrides, with_controls=False):
        recipe = small("data.dataset=uneven", f"evaluate.count={COUNT}", *overrides, registry=mixed)
        weights = open_weights(path, mixed)
        return evaluate(weights, recipe, ALONE, with_controls=with_controls)

    monkeypatch.setattr(Sampler, "images", perfect)
    return judged


def test_by_default_the_classes_are_mixed_as_in_the_data(judge):
    found = judge()
    assert found.record["classes"] == {name: {"0": 192, "1": 8} for name in (REAL, GENERATED, HELD_OUT)}
    assert found.figures[GENERATED]["fid_relative"] < 0.02


def test_classes_in_turn_are_another_set(judge):
    """Of ten classes, eight of which the data has no picture of."""
    found = judge("evaluate.labels=balanced")
    assert found.figures[GENERATED]["fid_relative"] > 1


def test_the_floor_and_controls_are_mixed_as_what_is_judged(judge):
    """Or an uneven dataset would seem to be the generator's fault. Of the classes that there are, that is.

    The floor has no image twice: of the class that there are 8 of, the ninth would have been.
    """
    found = judge("evaluate.labels=balanced", with_controls=True)
    classes = found.record["classes"]
    assert classes[HELD_OUT] == {"0": 9, "1": 8}
    assert any("the floor is of 17 held-out images" in each for each in found.record["doubts"])
    for name in ("noise", "class means", "shuffled labels", "copy"):
        assert classes[name] == {"0": 100, "1": 100}, name
    assert found.figures[HELD_OUT]["fid_relative"] > 1
    assert found.figures["copy"]["fid_relative"] > 1
    plain = judge(with_controls=True)
    assert plain.record["classes"]["copy"] == {"0": 192, "1": 8}
    assert plain.figures["copy"]["fid_relative"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("choice", ["balanced", "random"])
def test_a_floor_of_few_images_of_the_last_classes(judge, choice, monkeypatch):
    """Fewer images than classes, and none of those that would be the first in turn."""
    whole = UnevenSource.__init__

    def few(self, split):
        whole(self, split)
        if split == "held_out":
            self.class_of = torch.tensor([7, 8, 9])

    monkeypatch.setattr(UnevenSource, "__init__", few)
    monkeypatch.setattr(UnevenSource, "__len__", lambda self: len(self.class_of))
    found = judge(f"evaluate.labels={choice}")
    mix = found.record["classes"][HELD_OUT]
    assert mix.items() <= {"7": 1, "8": 1, "9": 1}.items()
    assert len(mix) == 3 or choice == "random"


def test_rows_are_of_the_wanted_classes_in_turn():
    labels = np.array([4, 2, 4, 2, 4])
    assert rows_of_classes(labels, np.array([2, 2, 2, 4, 4])).tolist() == [1, 3, 1, 0, 2]
