"""A classifier for features that bring none: it reads what it has learnt, and no more than that."""

from dataclasses import replace

import numpy as np
import pytest

from zoo.data.digits import Digits
from zoo.evaluate.base import FeatureSet
from zoo.evaluate.by_class import Accuracy
from zoo.evaluate.judging import ImageSet, Judge, RealImages, controls
from zoo.evaluate.pca import PCAFeatures
from zoo.evaluate.verdicts import LinearClassifier


class WithoutVerdicts(PCAFeatures):
    def of(self, images, labels):
        return replace(super().of(images, labels), verdicts=None)


@pytest.fixture(scope="module")
def train():
    return RealImages(Digits(1, 8, 8, 10), "train", 0).in_memory()


def test_images_are_read_from_features_alone(train):
    judge = Judge(WithoutVerdicts(), [Accuracy()], train)
    held_out = RealImages(Digits(1, 8, 8, 10), "held_out", 0)
    assert judge.figures(judge.features_of(held_out.batches()))["accuracy"] > 0.9
    found = {name: judge.features_of(each.batches()) for name, each in controls(train, 0).items()}
    assert judge.figures(found["shuffled labels"])["accuracy"] < 0.2
    assert judge.figures(found["noise"])["accuracy"] < 0.3
    assert judge.classifier == "linear discriminants of the features"


def test_features_with_verdicts_keep_them(train):
    judge = Judge(PCAFeatures(), [Accuracy()], train)
    assert judge.classifier == "the features' own"
    assert (judge.features_of(train.batches()).verdicts == judge.features.of(train.images, None).verdicts).all()


def test_a_single_class_has_no_verdicts(train):
    judge = Judge(WithoutVerdicts(), [Accuracy()], ImageSet(train.images, np.zeros_like(train.labels)))
    assert judge.figures(judge.real) == {}
    assert judge.classifier is None


def test_fewer_images_than_features_are_enough():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    means = 3 * generator.standard_normal((3, 200))
    real, other = (means[labels] + generator.standard_normal((60, 200)) for _ in range(2))
    judged = LinearClassifier(real, labels).judged(FeatureSet(other, labels))
    assert (judged.verdicts == labels).mean() > 0.95
