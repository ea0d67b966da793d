"""Metrics equal independent reference computations, and tell what they are there to tell."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from zoo.evaluate import FeatureSet, frechet
from zoo.evaluate import precision_recall as blocks
from zoo.evaluate.by_class import Accuracy, Diversity, Novelty
from zoo.evaluate.frechet import FID, SpatialFID, fitted, frechet_distance
from zoo.evaluate.inception_score import InceptionScore, inception_score
from zoo.evaluate.precision_recall import PrecisionRecall


def normal(n, dim, seed=0, shift=0.0, scale=1.0):
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((dim, dim))
    return (generator.standard_normal((n, dim)) @ mixing * scale + shift).astype(np.float32)


def reference_frechet(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    apart = a.mean(0) - b.mean(0)
    return apart @ apart + np.trace(s + t - 2 * sqrtm(s @ t).real)


@pytest.mark.parametrize("rows", [7, 1024])
@pytest.mark.parametrize("dim", [1, 16])
def test_mean_and_covariance_by_blocks_are_those_of_all_at_once(rows, dim, monkeypatch):
    monkeypatch.setattr(frechet, "ROWS", rows)
    features = normal(500, dim, shift=100.0)
    wide = features.astype(np.float64)
    wanted = np.atleast_2d(np.cov(wide, rowvar=False))
    found = fitted(features)
    np.testing.assert_allclose(found.mean, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("dim", [2, 16, 64])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 1.0), (0.0, 2.0)])
def test_frechet_distances_are_those_of_scipys_matrix_root(dim, shift, scale):
    one, other = normal(500, dim, 0), normal(400, dim, 1, shift, scale)
    wanted = reference_frechet(one, other)
    assert frechet_distance(fitted(one), fitted(other)) == pytest.approx(wanted, rel=1e-4)
    assert FID().measure(FeatureSet(one), FeatureSet(other))["fid"] == pytest.approx(wanted, rel=1e-4)
    real, generated = (FeatureSet(np.zeros((len(each), 1)), spatial=each) for each in (one, other))
    assert SpatialFID().measure(real, generated)["sfid"] == pytest.approx(wanted, rel=1e-4)


def test_the_distance_of_known_gaussians_in_closed_form():
    generator = np.random.default_rng(0)
    one, other = generator.standard_normal((200_000, 2)), 3.0 * generator.standard_normal((200_000, 2)) + [1.0, 2.0]
    assert frechet_distance(fitted(one), fitted(other)) == pytest.approx(5 + 2 * (3 - 1) ** 2, rel=0.02)


def test_fewer_images_than_features_give_a_distance_too():
    one, other = normal(20, 64, 0), normal(30, 64, 1)
    distance = frechet_distance(fitted(one), fitted(other))
    assert np.isfinite(distance)
    assert frechet_distance(fitted(one), fitted(one)) == pytest.approx(0.0, abs=1e-4 * np.trace(fitted(one).covariance))


def test_a_distance_relative_to_how_real_images_spread():
    one, other = normal(500, 8, 0), normal(500, 8, 0, shift=1.0)
    found = FID().measure(FeatureSet(one), FeatureSet(other))
    larger = FID().measure(FeatureSet(10 * one), FeatureSet(10 * other))
    assert larger["fid"] == pytest.approx(100 * found["fid"], rel=1e-3)
    assert larger["fid_relative"] == pytest.approx(found["fid_relative"], rel=1e-3)


def test_a_covariance_needs_two_images():
    with pytest.raises(ValueError, match="a covariance needs two images or more, not 1"):
        fitted(np.zeros((1, 3)))


def reference_inception_score(probabilities):
    marginal = probabilities.mean(0)
    total = 0.0
    for row in probabilities:
        for p, q in zip(row, marginal, strict=True):
            total += p * np.log(p / q) if p > 0 else 0.0
    return np.exp(total / len(probabilities))


def test_inception_scores_are_those_of_two_loops():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(10, 0.3), 60)
    assert inception_score(probabilities, 5000) == pytest.approx(reference_inception_score(probabilities), rel=1e-6)
    halves = [reference_inception_score(each) for each in (probabilities[:30], probabilities[30:])]
    found = InceptionScore(split=30).measure(
        FeatureSet(probabilities), FeatureSet(probabilities, probabilities=probabilities)
    )
    assert found["inception_score"] == pytest.approx(np.mean(halves), rel=1e-6)


def test_the_inception_score_of_sure_and_varied_images_is_the_number_of_classes():
    assert inception_score(np.eye(10)[np.arange(100) % 10], 5000) == pytest.approx(10.0)
    assert inception_score(np.full((100, 10), 0.1), 5000) == pytest.approx(1.0)
    assert inception_score(np.eye(10)[np.zeros(100, dtype=int)], 5000) == pytest.approx(1.0)


def reference_precision_recall(real, generated, k):
    def inside(points, centres):
        among = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(-1))
        radii = np.sort(among, axis=1)[:, k]
        apart = np.sqrt(((points[:, None] - centres[None]) ** 2).sum(-1))
        return (apart <= radii).any(1).mean()

    return inside(generated, real), inside(real, generated)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("rows", [7, 2048])
def test_precision_and_recall_are_those_of_all_distances_at_once(k, rows, monkeypatch):
    monkeypatch.setattr(blocks, "ROWS", rows)
    generator = np.random.default_rng(0)
    real, generated = generator.standard_normal((90, 3)), 0.7 * generator.standard_normal((70, 3)) + 0.3
    found = PrecisionRecall(neighbours=k).measure(FeatureSet(real), FeatureSet(generated))
    precision, recall = reference_precision_recall(real, generated, k)
    assert (found["precision"], found["recall"]) == (pytest.approx(precision), pytest.approx(recall))
    assert 0.1 < recall < precision <= 1.0


def test_precision_and_recall_are_beside_so_many_real_images_evenly_spread():
    generator = np.random.default_rng(0)
    real, generated = generator.standard_normal((90, 3)), generator.standard_normal((70, 3))
    chosen = [math.floor(each * 90 / 40) for each in range(40)]
    found = PrecisionRecall(real=40).measure(FeatureSet(real), FeatureSet(generated))
    assert found == PrecisionRecall().measure(FeatureSet(real[chosen]), FeatureSet(generated))
    assert found != PrecisionRecall().measure(FeatureSet(real), FeatureSet(generated))
    assert PrecisionRecall().real == 10_000  # as ADM's reference batches have


@pytest.mark.parametrize(
    ("generated", "precision", "recall"),
    [
        ("one of both clusters", 1.0, 0.5),
        ("both clusters and one more", 0.5, 1.0),
        ("both clusters", 1.0, 1.0),
        ("elsewhere", 0.0, 0.0),
    ],
)
def test_precision_and_recall_of_known_sets(generated, precision, recall):
    generator = np.random.default_rng(0)

    def cluster(place, n=300):
        return place + 0.1 * generator.standard_normal((n, 4))

    real = np.concatenate([cluster(0.0), cluster(5.0)])
    images = {
        "one of both clusters": cluster(0.0, 600),
        "both clusters and one more": np.concatenate([cluster(0.0), cluster(5.0), cluster(10.0, 600)]),
        "both clusters": np.concatenate([cluster(0.0), cluster(5.0)]),
        "elsewhere": cluster(20.0, 600),
    }[generated]
    found = PrecisionRecall().measure(FeatureSet(real), FeatureSet(images))
    assert found["precision"] == pytest.approx(precision, abs=0.1)
    assert found["recall"] == pytest.approx(recall, abs=0.1)


def test_too_few_images_for_neighbours():
    with pytest.raises(ValueError, match="3 neighbours need more than 3 images, not 3"):
        PrecisionRecall().measure(FeatureSet(np.zeros((9, 2))), FeatureSet(np.zeros((3, 2))))


LABELS = np.arange(60) % 3


def of_classes(seed=0, spread=1.0):
    features = 10.0 * np.eye(3)[LABELS] + spread * np.random.default_rng(seed).standard_normal((60, 3))
    return FeatureSet(features, LABELS, verdicts=LABELS)


def test_diversity_is_the_variance_within_classes_over_that_of_real_images():
    real = of_classes()
    assert Diversity().measure(real, real)["diversity"] == pytest.approx(1.0)
    wide = of_classes(spread=3.0)
    assert Diversity().measure(real, wide)["diversity"] == pytest.approx(9.0, rel=1e-6)
    means = FeatureSet(10.0 * np.eye(3)[LABELS], LABELS)
    assert Diversity().measure(real, means)["diversity"] == 0.0
    shuffled = FeatureSet(real.pooled, np.random.default_rng(0).permutation(LABELS))
    within = np.mean([real.pooled[shuffled.labels == k].var(0, ddof=1).sum() for k in range(3)])
    truly = np.mean([real.pooled[k == LABELS].var(0, ddof=1).sum() for k in range(3)])
    assert Diversity().measure(real, shuffled)["diversity"] == pytest.approx(within / truly)


def test_accuracy_is_the_share_of_labels_that_are_seen():
    verdicts = LABELS.copy()
    verdicts[:15] = 7
    found = Accuracy().measure(of_classes(), FeatureSet(np.zeros((60, 1)), LABELS, verdicts=verdicts))
    assert found["accuracy"] == pytest.approx(0.75)


def test_a_copy_is_not_novel_and_another_real_image_is():
    real, other = of_classes(0), of_classes(1)
    assert Novelty().measure(real, real)["novelty"] == pytest.approx(0.0, abs=1e-6)
    assert Novelty().measure(real, other)["novelty"] == pytest.approx(1.0, rel=0.4)


def test_sets_are_taken_apart_and_joined():
    whole = of_classes()
    parts = [whole.rows(np.arange(0, 20)), whole.rows(np.arange(20, 60))]
    joined = FeatureSet.joined(parts)
    assert (joined.pooled == whole.pooled).all()
    assert (joined.verdicts == whole.verdicts).all()
    assert joined.spatial is None
    assert (len(parts[0]), len(joined)) == (20, 60)
