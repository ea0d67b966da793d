"""Figures of digits: real ones pass, and every impostor fails one of them."""

import math

import numpy as np
import pytest
import torch
from judged import judge_sets

from zoo.audit.memory import LiveBytes
from zoo.data.digits import Digits
from zoo.errors import DataError
from zoo.evaluate.base import ImageSet, Metric
from zoo.evaluate.by_class import Accuracy, Diversity, Novelty
from zoo.evaluate.frechet import FID, SpatialFID
from zoo.evaluate.inception_score import InceptionScore
from zoo.evaluate.judging import Judge, RealImages, controls, features_of
from zoo.evaluate.pca import PCAFeatures, side_of_squares
from zoo.evaluate.precision_recall import PrecisionRecall
from zoo.registry import part

METRICS = [FID(), SpatialFID(), InceptionScore(), PrecisionRecall(), Accuracy(), Diversity(), Novelty()]


@pytest.fixture(scope="module")
def digits():
    dataset = Digits(1, (8, 8), 10)
    return tuple(RealImages(dataset, split, 0).in_memory() for split in ("train", "held_out"))


def made(train, seed=0):
    return {name: make() for name, make in controls(train, seed).items()}


@pytest.fixture(scope="module")
def figures(digits):
    train, held_out = digits
    return judge_sets(PCAFeatures(), METRICS, train, {"real": held_out, **made(train)})


def passes(found):
    return {
        "accuracy": found["accuracy"] >= 0.9,
        "frechet": found["fid_relative"] <= 0.06,
        "diversity": 0.7 <= found["diversity"] <= 1.3,
        "novelty": found["novelty"] >= 0.5,
    }


def test_real_digits_that_were_held_out_pass(figures):
    assert all(passes(figures["real"]).values())


@pytest.mark.parametrize(
    ("control", "failed"),
    [
        ("noise", {"accuracy", "frechet"}),
        ("class means", {"frechet", "diversity"}),
        ("shuffled labels", {"accuracy", "diversity", "novelty"}),
        ("copy", {"novelty"}),
    ],
)
def test_every_impostor_fails(figures, control, failed):
    assert {name for name, passed in passes(figures[control]).items() if not passed} == failed


def test_only_figures_that_the_features_allow_are_told(figures):
    told = {"fid", "fid_relative", "precision", "recall", "accuracy", "diversity", "novelty"}
    assert all(set(each) == told for each in figures.values())


def test_images_without_classes_have_no_verdicts(digits):
    train, held_out = (ImageSet(each.images, None) for each in digits)
    found = judge_sets(PCAFeatures(), METRICS, train, {"real": held_out, **made(train)})
    assert set(found) == {"real", "noise", "copy"}
    assert set(found["real"]) == {"fid", "fid_relative", "precision", "recall", "novelty"}


def test_features_do_not_depend_on_how_images_are_batched(digits, monkeypatch):
    train, held_out = digits
    whole = judge_sets(PCAFeatures(), [FID()], train, {"real": held_out})
    monkeypatch.setattr("zoo.evaluate.base.BATCH", 100)
    parts = judge_sets(PCAFeatures(), [FID()], train, {"real": held_out})
    assert parts["real"]["fid"] == pytest.approx(whole["real"]["fid"], rel=1e-9)


def test_components_are_those_of_the_real_images(digits):
    train, _ = digits
    features = PCAFeatures(components=5)
    features.fit(train)
    found = features.of(train.images, train.labels).pooled
    pixels = train.images.reshape(len(train), -1) / 255
    covariance = np.cov(pixels, rowvar=False)
    wanted = np.linalg.eigvalsh(covariance)[::-1][:5]
    np.testing.assert_allclose(found.var(axis=0, ddof=1), wanted, rtol=1e-9)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-9)


def test_small_pictures_are_taken_pixel_by_pixel(digits):
    features = PCAFeatures()
    features.fit(digits[0])
    assert features.record() == {"averaged_over": 1, "numbers": 64}


def test_pictures_of_many_pixels_are_averaged_over_squares():
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    features = PCAFeatures(components=4096)
    features.fit(ImageSet(images, None))
    assert features.record() == {"averaged_over": 2, "numbers": 3072}
    means = images.reshape(12, 32, 2, 32, 2, 3).mean(axis=(2, 4)) / 255
    distances = ((means[0] - means) ** 2).sum(axis=(1, 2, 3))
    found = features.of(images, None).pooled
    np.testing.assert_allclose(((found[0] - found) ** 2).sum(axis=1), distances, rtol=1e-6, atol=1e-9)


def test_few_pictures_are_in_memory_at_full_size_as_numbers(monkeypatch):
    monkeypatch.setattr("zoo.evaluate.pca.AT_ONCE", 8)
    images = np.zeros((100, 64, 64, 3), dtype=np.uint8)
    with LiveBytes() as live:
        PCAFeatures().fit(ImageSet(images, None))
    assert 0 < live.peak < images.size * 8 / 2


def test_squares_are_cut_at_the_edges():
    images = np.zeros((3, 65, 66, 1), dtype=np.uint8)
    images[0, 64, 64:] = 255
    features = PCAFeatures(components=4096)
    features.fit(ImageSet(images, None))
    assert features.record() == {"averaged_over": 2, "numbers": 33 * 33}
    found = features.of(images, None).pooled
    assert np.linalg.norm(found[0] - found[1]) == pytest.approx(1.0)  # one mean, of the two pixels that are there


@pytest.mark.parametrize(
    ("shape", "side"),
    [((8, 8, 1), 1), ((64, 64, 1), 1), ((64, 65, 1), 2), ((64, 64, 3), 2), ((256, 256, 3), 8), ((1, 1, 3), 1)],
)
def test_squares_are_as_small_as_can_be(shape, side):
    assert side_of_squares(*shape) == side


def test_images_of_another_size(digits):
    train, _ = digits
    features = PCAFeatures()
    features.fit(train)
    with pytest.raises(
        DataError, match="features pca: the images and the real ones are 4 x 4 x 1 and 8 x 8 x 1; compare"
    ):
        features.of(np.zeros((1, 4, 4, 1), dtype=np.uint8), None)


def test_controls_depend_on_the_seed_alone(digits):
    train, _ = digits
    one, again, other = made(train), made(train), made(train, 1)
    assert (one["noise"].images == again["noise"].images).all()
    assert (one["noise"].images != other["noise"].images).any()
    assert sorted(one["shuffled labels"].labels) == sorted(train.labels)


def test_many_real_images_are_read_a_batch_at_a_time_and_a_choice_kept(digits, monkeypatch):
    train, _ = digits
    monkeypatch.setattr("zoo.evaluate.judging.BATCH", 100)
    monkeypatch.setattr("zoo.evaluate.judging.MOST_IN_MEMORY", 150)
    real = RealImages(Digits(1, (8, 8), 10), "train", 0)
    batches = list(real.batches())
    assert max(map(len, batches)) == 100
    assert (np.concatenate([each.images for each in batches]) == train.images).all()
    assert len(real.in_memory()) == 150
    found = judge_sets(PCAFeatures(), [FID()], real, {"all": train})
    assert found["all"]["fid"] == pytest.approx(0.0, abs=1e-6)  # beside all, although the components are of some


def test_ranks_share_the_batches(digits, monkeypatch):
    train, _ = digits
    monkeypatch.setattr("zoo.evaluate.judging.BATCH", 100)
    real = RealImages(Digits(1, (8, 8), 10), "train", 0)
    shares = [list(real.batches(rank, 3)) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    together = [each for batches in zip(*shares, strict=True) for each in batches]
    assert (np.concatenate([each.images for each in together]) == train.images).all()


def test_latents_are_decoded_where_they_are_asked_to_be(monkeypatch):
    seen = []

    class Spy(Digits):
        def to_images(self, latents):
            seen.append(latents.device.type)
            return torch.zeros(len(latents), 8, 8, 1, dtype=torch.uint8)

    next(RealImages(Spy(1, (8, 8), 10), "train", 0, device=torch.device("meta")).batches())
    assert seen == ["meta"]


def test_a_metric_that_refuses_a_set_is_left_out_and_says_why(digits):
    train, _ = digits
    features = PCAFeatures()
    features.fit(train)
    judge = Judge(features, METRICS, features_of(features, train))
    few = ImageSet(train.images[:3], np.array([0, 1, 2]))
    figures, refusals = judge.figures(features_of(features, few))
    assert {"fid", "accuracy", "novelty"} <= set(figures)
    assert set(refusals) == {"precision_recall", "diversity"}
    assert refusals["precision_recall"] == "3 neighbours need more than 3 images, not 3"


def test_a_choice_of_real_images_is_random_and_depends_on_the_seed_alone(digits):
    train, _ = digits

    def chosen(seed):
        return RealImages(Digits(1, (8, 8), 10), "train", seed, most=200).in_memory()

    assert len(chosen(0)) == 200
    assert (chosen(0).images == chosen(0).images).all()
    assert (chosen(0).images != chosen(1).images).any()
    assert len(np.unique(chosen(0).labels)) == 10
    assert (chosen(0).images != train.images[:200]).any()


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (KeyError("eigenvalues"), "KeyError: 'eigenvalues'"),
        (ValueError("too few"), "too few"),
        ({"odd": math.nan}, "odd is nan"),
        ({"odd": np.float32(-np.inf)}, "odd is -inf"),
        ({"odd": torch.tensor(1.0)}, "TypeError: odd is a Tensor, and must be a number"),
        ({"odd": None}, "TypeError: odd is a NoneType, and must be a number"),
    ],
)
def test_a_metric_that_fails_keeps_no_other_figure_back(digits, found, told):
    @part("metric", "odd")
    class Odd(Metric):
        """Fails, or gives what is no figure."""

        def measure(self, real, generated):
            if isinstance(found, Exception):
                raise found
            return found

    train, _ = digits
    features = PCAFeatures()
    features.fit(train)
    real = features_of(features, train)
    figures, refusals = Judge(features, [Odd(), *METRICS], real).figures(real)
    assert refusals["odd"] == told
    assert {"fid", "accuracy"} <= set(figures)
    assert "odd" not in figures


def test_a_metric_does_not_tell_a_figure_of_another(digits):
    @part("metric", "odd")
    class Odd(Metric):
        """Calls its figure as another metric does."""

        def measure(self, real, generated):
            return {"fid": -1.0, "odd": 1.0}

    train, _ = digits
    features = PCAFeatures()
    features.fit(train)
    real = features_of(features, train)
    figures, refusals = Judge(features, [*METRICS, Odd()], real).figures(real)
    assert refusals == {"odd": "another metric tells a figure 'fid' already; call this one otherwise"}
    assert figures["fid"] >= 0
    assert "odd" not in figures
