"""Laws of features and metrics."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from zoo.attributes import FIELDS
from zoo.errors import first_line, with_article
from zoo.evaluate.base import Features, FeatureSet, ImageSet, Metric
from zoo.testing.cases import Case
from zoo.testing.generators import seeded
from zoo.testing.law import Law, law

IMAGES, CLASSES = 24, 3
SETS = (IMAGES, 384, 2048)
"""Images of a set, the least first: a metric, such as of many features, may refuse few."""

SIZES = ((8, 6), (32, 40), (64, 72), (256, 264))
"""Heights and widths, the least first: a network may refuse what is too small for its layers."""


@law(
    "Return a dict of names to Python floats, as float(x), that hangs on the two sets alone: seed what is "
    "drawn, and guard against dividing by zero."
)
def figures_are_numbers(case: Case) -> None:
    """A metric tells the same finite figures whenever it is asked, and leaves its inputs as they were.

    Sets that are too small for its options it may refuse with a ValueError; of large ones it has to tell.
    """
    metric = case.create()
    real, generated = _enough(metric, case.seed)
    before = [each.rows(np.arange(len(each))) for each in (real, generated)]
    with seeded(case.seed) as drawn:
        figures = metric.measure(real, generated)
        names = drawn()
    assert not names, f"a metric seeds {' and '.join(names)}, or draws from it; np.random.default_rng(0) is its own"
    assert isinstance(figures, Mapping), "a metric returns figures by name"
    assert figures, "a metric tells no figure"
    for name, figure in figures.items():
        assert isinstance(name, str), f"a figure's name is {name!r}, which is no text"
        assert isinstance(figure, float), f"{name} is {with_article(type(figure).__name__)}, and should be a float"
        assert math.isfinite(figure), f"{name} is {figure} for finite features"
    strange = sorted(set(metric.more_is_better) - set(figures))
    assert not strange, f"more_is_better names {', '.join(strange)}, and the figures are {', '.join(figures)}"
    assert dict(metric.measure(real, generated)) == dict(figures), "a metric tells other figures when asked again"
    assert all(map(_same, before, (real, generated))), "a metric changes its inputs"


@law(
    "Name in needs every field of a FeatureSet that measure() reads, such as probabilities: features may have no other."
)
def takes_what_it_needs(case: Case) -> None:
    """A metric tells the same figures of sets that have what it ``needs`` alone, of whatever sizes."""
    metric = case.create()
    real, generated = _enough(metric, case.seed)
    others: dict[str, Any] = {name: None for name in FIELDS if name not in {*metric.needs, "pooled"}}
    bare = metric.measure(replace(real, **others), replace(generated, **others))
    same = dict(bare) == dict(metric.measure(real, generated))
    assert same, f"a metric tells other figures without {', '.join(others)}"
    more = _features(case.seed + 2, 2 * len(generated))
    for name, figure in metric.measure(real, more).items():
        assert math.isfinite(figure), f"{name} is {figure} for {len(real)} real images and {len(more)} generated"


@law(
    "Raise a ValueError that says how many images it takes, before an average of none, or a covariance of one, is NaN."
)
def refuses_too_few(case: Case) -> None:
    """Of one image, or of none, a metric tells finite figures, or refuses it with a ValueError."""
    metric = case.create()
    for images in (1, 0):
        few = _features(case.seed, images)
        for real, generated in ((few, _features(case.seed, IMAGES)), (_features(case.seed, IMAGES), few), (few, few)):
            told = f"of {len(real)} real images and {len(generated)} generated"
            try:
                with warnings.catch_warnings():  # of NumPy, that a mean is of nothing
                    warnings.simplefilter("ignore")
                    figures = metric.measure(real, generated)
            except ValueError:
                continue
            except Exception as error:
                raise AssertionError(f"{told} it fails: {type(error).__name__}: {first_line(error)}") from error
            for name, figure in figures.items():
                assert math.isfinite(figure), f"{told} {name} is {figure}"


@law(
    "Sort what you take some of, or average over all: files are read in one order, and images are drawn in another.",
    required=False,
)
def order_changes_nothing(case: Case) -> None:
    """As its options are by default, a metric tells the same figures of the same images in any order."""
    if case.written:  # runs of so many images are of another order, by their nature
        return
    metric = case.create()
    both = _enough(metric, case.seed)
    generator = np.random.default_rng(case.seed + 3)
    others = [each.rows(generator.permutation(len(each))) for each in both]
    figures, found = metric.measure(*both), metric.measure(*others)
    for name, figure in figures.items():
        assert math.isclose(found[name], figure, rel_tol=1e-6, abs_tol=1e-9), (
            f"{name} is {figure}, and {found[name]} of the same images in another order"
        )


@law(
    "Return a row for every image, in order, of that image alone, also where labels are None: what is learned of all of"
    " them belongs to fit()."
)
def images_stand_alone(case: Case) -> None:
    """Features have a row for every image, which does not depend on the images beside it; images stay as they were.

    So it is for grey and for RGB images; one of these, and small ones, it may refuse with a ValueError.
    """
    for features, images, labels in _fitted(case):
        before = images.copy()
        whole = features.of(images, labels)
        assert (images == before).all(), "features change their inputs"
        for name in FIELDS:
            rows = getattr(whole, name)
            assert rows is None or len(rows) == IMAGES, f"{name} has {len(rows)} rows for {IMAGES} images"
            assert rows is None or np.isfinite(rows).all(), f"{name} is not finite"
        some = np.array([5, 2, 11])
        alone = features.of(images[some], labels[some])
        for name in FIELDS:
            one, other = getattr(alone, name), getattr(whole.rows(some), name)
            close = one is None or np.allclose(one, other, rtol=1e-5, atol=1e-5)
            assert close, f"{name} depends on the images beside it"
        with suppress(ValueError):  # by which features may refuse images without labels
            bare = features.of(images, None)
            assert len(bare) == IMAGES, f"without labels there are {len(bare)} rows for {IMAGES} images"


@law(
    "Let record() return texts, numbers, lists and dicts with text keys, of the options alone: no arrays, "
    "times or random numbers."
)
def record_is_plain(case: Case) -> None:
    """What features say of themselves is plain JSON, and the same whenever they are built alike."""
    records = [next(_fitted(case))[0].record() for _ in range(2)]
    try:
        restored = json.loads(json.dumps(records[0], allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the record is no plain JSON: {error}") from error
    assert restored == records[0], f"the record comes back from JSON as {restored}"
    assert records[0] == records[1], "features that are built alike have other records"


Fitted = tuple[Features, UInt8[np.ndarray, "n H W C"], Int[np.ndarray, " n"]]


def _fitted(case: Case) -> Iterator[Fitted]:
    """Features that have seen real images, and others with their labels: grey ones and RGB, as far as it takes these.

    Raises:
        ValueError: it takes neither, of no size.
    """
    refused: ValueError | None = None
    taken = 0
    for channels in (1, 3):
        for size in SIZES:
            try:
                features, images, labels = fitted = _fitted_to(case, (*size, channels))
                features.of(images[:1].copy(), labels[:1])
            except ValueError as error:
                refused = error
            else:
                taken += 1
                yield fitted
                break
    if refused is not None and not taken:
        raise refused


def _fitted_to(case: Case, shape: tuple[int, int, int]) -> Fitted:
    features: Features = case.create()
    generator = np.random.default_rng(case.seed)
    real, images = generator.integers(0, 256, (2, IMAGES, *shape), dtype=np.uint8)
    labels = np.arange(IMAGES) % CLASSES
    features.fit(ImageSet(real, labels))
    return features, images, labels


def _enough(metric: Metric, seed: int) -> tuple[FeatureSet, FeatureSet]:
    """Real and generated images that a metric tells figures of: few, or many where it says that they are too few."""
    for images in SETS:
        try:
            metric.measure(_features(seed, images), _features(seed + 1, images))
        except ValueError as error:
            refused = error
        else:
            return _features(seed, images), _features(seed + 1, images)
    raise AssertionError(f"a metric refuses {images} images of {CLASSES} classes: {refused}") from refused


def _features(seed: int, images: int) -> FeatureSet:
    generator = np.random.default_rng(seed)
    weights = generator.random((images, CLASSES)) + 0.1
    return FeatureSet(
        pooled=generator.standard_normal((images, 4)),
        labels=np.arange(images) % CLASSES,
        spatial=generator.standard_normal((images, 5)),
        probabilities=weights / weights.sum(axis=1, keepdims=True),
        verdicts=generator.integers(0, CLASSES, images),
    )


def _same(one: FeatureSet, other: FeatureSet) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "features": (images_stand_alone, record_is_plain),
    "metric": (figures_are_numbers, takes_what_it_needs, refuses_too_few, order_changes_nothing),
}
