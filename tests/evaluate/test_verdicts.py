"""A classifier for features that bring none: it reads what it has learnt, and no more than that."""

from dataclasses import replace

import numpy as np
import pytest

from zoo.data.digits import Digits
from zoo.evaluate.base import FeatureSet, ImageSet
from zoo.evaluate.by_class import Accuracy
from zoo.evaluate.judging import Judge, RealImages, controls, features_of
from zoo.evaluate.pca import PCAFeatures


class WithoutVerdicts(PCAFeatures):
    def of(self, images, labels):
        return replace(super().of(images, labels), verdicts=None)


@pytest.fixture(scope="module")
def train():
    return RealImages(Digits(1, (8, 8), 10), "train", 0).in_memory()


def judge_of(features, train):
    features.fit(train)
    return Judge(features, [Accuracy()], features_of(features, train))


def accuracy(judge, images):
    figures, _ = judge.figures(features_of(judge.features, images))
    return figures["accuracy"]


def test_images_are_read_from_features_alone(train):
    judge = judge_of(WithoutVerdicts(), train)
    assert judge.classifier is not None
    assert accuracy(judge, RealImages(Digits(1, (8, 8), 10), "held_out", 0)) > 0.9
    made = controls(train, 0)
    assert accuracy(judge, made["shuffled labels"]()) < 0.2
    assert accuracy(judge, made["noise"]()) < 0.3


def test_features_with_verdicts_keep_them(train):
    judge = judge_of(PCAFeatures(), train)
    assert judge.classifier is None
    assert accuracy(judge, train) == (judge.real.verdicts == train.labels).mean()


def test_a_single_class_has_no_verdicts(train):
    judge = judge_of(WithoutVerdicts(), ImageSet(train.images, np.zeros_like(train.labels)))
    assert judge.classifier is None
    assert judge.metrics == []


def test_fewer_images_than_features_are_enough():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    means = 3 * generator.standard_normal((3, 200))
    real, other = (means[labels] + generator.standard_normal((60, 200)) for _ in range(2))
    figures, _ = Judge(PCAFeatures(), [Accuracy()], FeatureSet(real, labels)).figures(FeatureSet(other, labels))
    assert figures["accuracy"] > 0.95
