"""Generated images beside real ones and beside controls that must fail, in figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8

from zoo.classes import Classes
from zoo.data import Dataset, Split
from zoo.data.left_out import classes_kept, open_kept, read_kept
from zoo.errors import MissingSplitError, in_words, with_article, words_of
from zoo.evaluate.base import BATCH, Features, FeatureSet, Images, ImageSet, Metric, Moments
from zoo.labels import Labels, class_indices
from zoo.signature import MARK

MOST_IN_MEMORY = 10_000
"""Pictures of a set that features are fitted to, and controls made of, at most."""


class RealImages(Images):
    """Pictures of a split of a dataset, of which a batch at a time is in memory.

    Args:
        dataset: that they are of.
        split: of the dataset.
        seed: of what is drawn anew whenever a sample is read, and of the choice.
        most: so many of them at most, chosen at random; None for all.
        device: where latents are decoded.
        leave_out: ids of samples that are not among them, or the path of a file with one a line.

    Attributes:
        source: the samples of the split.
        left_out: which of these are left out.
        indices: of those that are taken, in order.
        seed: as given.

    Raises:
        MissingSplitError: there is no such split.
        DataError: they cannot be read.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        seed: int,
        most: int | None = None,
        device: torch.device | None = None,
        leave_out: str | tuple[str, ...] | None = None,
    ) -> None:
        self._dataset, self.seed = dataset, seed
        self.source, self.left_out = open_kept(dataset, split, leave_out)
        self._device = device or torch.device("cpu")
        kept = self.left_out.kept
        self.indices = kept[some_of(len(kept), most, seed)]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def classes(self) -> Classes:
        """What classes are called, and how many samples of each are not left out."""
        return classes_kept(self.source, self.left_out)

    def without_other_classes(self, than: Classes) -> None:
        """Take only samples of classes that have samples elsewhere too, as far as that is known.

        Raises:
            MissingSplitError: there are none.
        """
        own, others = self.classes.with_samples, than.with_samples
        if own is None or others is None or set(own) <= set(others):
            return
        classes = classes_in(self.source.labels(self.indices))
        if classes is not None:
            self.indices = self.indices[np.isin(classes, others)]
        if len(self) == 0:
            raise MissingSplitError("what is held out is of no class that has samples in training; divide it anew")

    def batches(self, rank: int = 0, ranks: int = 1) -> Iterator[ImageSet]:
        """All of them, some at a time; of several ranks, every rank has a share of the batches."""
        for first in range(rank * BATCH, len(self), ranks * BATCH):
            yield from self._read(self.indices[first : first + BATCH])

    def first(self) -> UInt8[np.ndarray, "1 height width channels"]:
        """The first of them."""
        return next(self._read(self.indices[:1])).images

    def in_memory(self) -> ImageSet:
        """All of them, or as many as memory is for."""
        chosen = self.indices[some_of(len(self), MOST_IN_MEMORY, self.seed)]
        parts = list(self._read(chosen))
        labels = [each.labels for each in parts if each.labels is not None]
        return ImageSet(np.concatenate([each.images for each in parts]), np.concatenate(labels) if labels else None)

    def _generators(self, indices: Int[np.ndarray, " n"]) -> list[np.random.Generator]:
        return [np.random.default_rng([self.seed, index]) for index in indices.tolist()]

    def _read(self, indices: Int[np.ndarray, " n"]) -> Iterator[ImageSet]:
        for first in range(0, len(indices), BATCH):
            index = indices[first : first + BATCH]
            samples = read_kept(self.source, index, partial(self._generators, index), self.left_out)
            images = self._dataset.to_images(samples.latents.to(self._device)).cpu().numpy()
            yield ImageSet(images, classes_in(samples.labels))


def some_of(count: int, most: int | None, seed: int) -> Int[np.ndarray, " n"]:
    """Indices in order: all, or as many as are wanted."""
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def classes_in(labels: Labels) -> Int[np.ndarray, " n"] | None:
    """Labels of a dataset as class indices; None where they are none."""
    found = class_indices(labels)
    return None if found is None else found.numpy()


def rows_of_classes(labels: Int[np.ndarray, " n"], wanted: Int[np.ndarray, " m"]) -> Int[np.ndarray, " rows"]:
    """Rows of labelled images that are of the wanted classes, each class's from its first row on, and again.

    There are images of all of these.
    """
    turns = {each: itertools.cycle(np.flatnonzero(labels == each)) for each in np.unique(labels).tolist()}
    return np.array([next(turns[each]) for each in wanted.tolist()], dtype=np.int64)


def controls(train: ImageSet, seed: int) -> dict[str, Callable[[], ImageSet]]:
    """Sets that a sound judgement refuses: noise, and of labelled images class means, shuffled labels and a copy.

    Each is made when it is asked for, so that they need not be in memory at once.
    """

    def noise() -> ImageSet:
        generator = np.random.default_rng(seed)
        return ImageSet(generator.integers(0, 256, train.images.shape, dtype=np.uint8), train.labels)

    if train.labels is None:
        return {"noise": noise, "copy": lambda: train}
    labels = train.labels

    def means() -> ImageSet:
        classes, place = np.unique(labels, return_inverse=True)
        found = np.stack([train.images[labels == each].mean(axis=0) for each in classes])
        return ImageSet(found.round().astype(np.uint8)[place], labels)

    def shuffled() -> ImageSet:
        return ImageSet(train.images, np.random.default_rng(seed).permutation(labels))

    return {"noise": noise, "class means": means, "shuffled labels": shuffled, "copy": lambda: train}


class Judge:
    """Compares sets of images with real ones.

    Where features bring no verdicts on classes, linear discriminants of the features learn them from the real images.

    Args:
        features: that have been fitted.
        metrics: those that need what the features do not give are left out.
        real: features of the real images; None where there are moments of them alone.
        moments: of such features of the real images that somebody else has found; metrics go by them where they can.
    """

    def __init__(
        self, features: Features, metrics: Sequence[Metric], real: FeatureSet | None, moments: Moments | None = None
    ) -> None:
        self.features, self.moments = features, moments
        self.classifier: Any = None
        if real is not None and real.verdicts is None and real.labels is not None and len(np.unique(real.labels)) > 1:
            from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # half a second, that only this costs

            # Covariances are shrunk as Ledoit and Wolf do, since classes may have fewer images than there are features.
            self.classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(real.pooled, real.labels)
            real = self._with_verdicts(real)
        self.real = real
        lacking = [self._lacking(each) for each in metrics]
        self.metrics = [each for each, needs in zip(metrics, lacking, strict=True) if not needs]
        self.unfed = {_name(each): needs for each, needs in zip(metrics, lacking, strict=True) if needs}
        """What metrics need, of those that need what the features do not give."""

    def _lacking(self, metric: Metric) -> list[str]:
        """What a metric needs of the real images that is not known."""
        if self.real is not None:
            return [need for need in metric.needs if getattr(self.real, need) is None]
        if type(metric).measure_moments is Metric.measure_moments:
            return ["pictures"]
        return [need for need in metric.needs if getattr(self.moments, need, None) is None]

    def _with_verdicts(self, found: FeatureSet) -> FeatureSet:
        return replace(found, verdicts=self.classifier.predict(found.pooled))

    def named_with(self, need: str) -> list[str]:
        """The metrics that need something, as recipes call them."""
        return [_name(each) for each in self.metrics if need in each.needs]

    def figures(self, found: FeatureSet) -> tuple[dict[str, float], dict[str, str]]:
        """Every figure of a set beside the real images, by name; and why metrics have none, by the metric's name."""
        if self.classifier is not None:
            found = self._with_verdicts(found)
        figures: dict[str, float] = {}
        refusals: dict[str, str] = {}
        for metric in self.metrics:
            if all(getattr(found, need) is not None for need in metric.needs):
                try:
                    figures.update(_new(_finite(self._measured(metric, found)), figures))
                except Exception as error:  # it has nothing to say, or is wrong; the other figures stand
                    words = words_of(error) if isinstance(error, ValueError) else in_words(error)
                    refusals[_name(metric)] = words
        return figures, refusals

    def _measured(self, metric: Metric, found: FeatureSet) -> Mapping[str, float]:
        by_moments = None if self.moments is None else metric.measure_moments(self.moments, found)
        if by_moments is not None:
            return by_moments
        if self.real is None:
            raise ValueError("the reference has no pictures, and no moments that tell it")
        return metric.measure(self.real, found)


def _name(metric: Metric) -> str:
    """That recipes call it by."""
    return str(getattr(type(metric), MARK)[1])


def _new(figures: dict[str, float], told: Mapping[str, float]) -> dict[str, float]:
    """Figures that no metric has told before.

    Raises:
        ValueError: one has told one of that name.
    """
    twice = sorted(figures.keys() & told)
    if twice:
        raise ValueError(f"another metric tells a figure {twice[0]!r} already; call this one otherwise")
    return figures


def _finite(figures: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a metric, as plain numbers.

    Raises:
        TypeError: one is no number.
        ValueError: one is not finite.
    """
    for name, value in figures.items():
        if not isinstance(value, Real):
            raise TypeError(f"{name} is {with_article(type(value).__name__)}, and must be a number")
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}")
    return {name: float(value) for name, value in figures.items()}


def features_of(features: Features, images: Images) -> FeatureSet:
    """What metrics compare.

    Raises:
        DataError: a picture cannot be read, or the features not be told.
    """
    return FeatureSet.joined([features.of(each.images, each.labels) for each in images.batches()])
