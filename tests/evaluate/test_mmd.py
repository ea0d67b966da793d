"""KID and CMMD equal their formulas, written out here, and tell what they are there to tell."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from zoo.evaluate import FeatureSet
from zoo.evaluate import precision_recall as blocks
from zoo.evaluate.mmd import CMMD, KID

GENERATOR = np.random.default_rng(0)
REAL = GENERATOR.standard_normal((40, 6)).astype(np.float32)
OTHERS = (GENERATOR.standard_normal((30, 6)) + 0.5).astype(np.float32)


def of(metric, one, other):
    return metric.measure(FeatureSet(one), FeatureSet(other))


def reference_kid(one, other):
    one, other = one.tolist(), other.tolist()

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    within = [np.mean([kernel(x, y) for x, y in itertools.permutations(each, 2)]) for each in (one, other)]
    return sum(within) - 2 * np.mean([kernel(x, y) for x in one for y in other])


def test_kid_of_all_images_is_that_of_two_loops():
    found = of(KID(), REAL[:30], OTHERS)
    assert found["kid"] == pytest.approx(reference_kid(REAL[:30], OTHERS), rel=1e-10)
    assert found["kid_std"] == 0.0


def test_kid_is_the_mean_over_subsets_whose_number_and_size_are_as_asked():
    pairs = [reference_kid(one, other) for one in _pairs_of(REAL[:5]) for other in _pairs_of(OTHERS[:5])]
    found = of(KID(subset=2, subsets=4000), REAL[:5], OTHERS[:5])
    assert found["kid_std"] == pytest.approx(np.std(pairs), rel=0.1)
    assert found["kid"] == pytest.approx(np.mean(pairs), abs=4 * np.std(pairs) / 4000**0.5)
    assert of(KID(subset=2, subsets=1), REAL, OTHERS)["kid_std"] == 0.0


def _pairs_of(rows):
    return [rows[list(each)] for each in itertools.combinations(range(len(rows)), 2)]


def test_kid_is_unbiased_and_the_same_in_any_order():
    halves = np.random.default_rng(1).standard_normal((2, 300, 4))
    found = of(KID(subset=20, subsets=300), *halves)
    assert abs(found["kid"]) < 4 * found["kid_std"] / 300**0.5 + 0.02
    assert of(KID(subset=20, subsets=300), halves[0][::-1], halves[1])["kid"] == pytest.approx(found["kid"], rel=1e-9)


def test_subsets_are_no_larger_than_the_smaller_set():
    found = of(KID(subset=1000, subsets=50), REAL, OTHERS)
    assert found["kid_std"] > 0  # which 30 of the 40 changes
    assert found["kid"] == pytest.approx(reference_kid(REAL, OTHERS), rel=0.2)


@pytest.mark.parametrize("rows", [7, 1024])
@pytest.mark.parametrize("sigma", [0.5, 10.0])
def test_cmmd_is_that_of_all_distances_at_once(rows, sigma, monkeypatch):
    monkeypatch.setattr(blocks, "ROWS", rows)
    one, other = (each / np.linalg.norm(each.astype(np.float64), axis=1, keepdims=True) for each in (REAL, OTHERS))

    def mean(x, y):
        return np.exp(-(cdist(x, y) ** 2) / (2 * sigma**2)).mean()

    wanted = 1000 * (mean(one, one) + mean(other, other) - 2 * mean(one, other))
    assert of(CMMD(sigma=sigma), 3 * REAL, OTHERS)["cmmd"] == pytest.approx(wanted, rel=1e-7)


def test_cmmd_of_a_copy_is_nothing():
    assert of(CMMD(), REAL, REAL[::-1])["cmmd"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "rows", "message"),
    [
        (KID(), REAL[:1], "an unbiased MMD needs two images or more, not 1"),
        (CMMD(), REAL[:0], "an MMD needs an image or more of either set"),
        (CMMD(), 0 * REAL, "features of an image are all 0, and have no direction"),
    ],
)
def test_what_cannot_be_told(metric, rows, message):
    with pytest.raises(ValueError, match=message):
        of(metric, REAL, rows)
