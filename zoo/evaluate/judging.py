"""Generated images beside real ones and beside controls that must fail, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8

from zoo.data import Dataset, Split
from zoo.evaluate.base import Features, FeatureSet, Metric
from zoo.evaluate.verdicts import LinearClassifier

BATCH = 512
"""Pictures that are read, and turned into features, at once."""

MOST_IN_MEMORY = 10_000
"""Pictures of a set that features are fitted to, and controls made of, at most."""


@dataclass(frozen=True)
class ImageSet:
    """Pictures and their classes.

    Attributes:
        images: 8-bit [n, H, W, 1 or 3].
        labels: [n]; None if they have none.
    """

    images: UInt8[np.ndarray, "n H W C"]
    labels: Int[np.ndarray, " n"] | None

    def __len__(self) -> int:
        return len(self.images)

    def batches(self) -> Iterator[ImageSet]:
        """All of them, some at a time."""
        for first in range(0, len(self), BATCH):
            rows = slice(first, first + BATCH)
            yield ImageSet(self.images[rows], None if self.labels is None else self.labels[rows])

    def in_memory(self) -> ImageSet:
        """All of them."""
        return self


class RealImages:
    """Pictures of a split of a dataset, of which a batch at a time is in memory.

    Args:
        dataset: that they are of.
        split: of the dataset.
        seed: of what is drawn anew whenever a sample is read, and of the choice.
        most: so many of them at most, chosen at random; None for all.

    Raises:
        DataError: they cannot be read.
    """

    def __init__(self, dataset: Dataset, split: Split, seed: int, most: int | None = None) -> None:
        self._dataset, self._source, self._seed = dataset, dataset.open(split), seed
        self._indices = _some(len(self._source), most, seed)

    def __len__(self) -> int:
        return len(self._indices)

    def batches(self) -> Iterator[ImageSet]:
        """All of them, some at a time.

        Raises:
            DataError: one cannot be read.
        """
        yield from self._read(self._indices)

    def in_memory(self) -> ImageSet:
        """All of them, or as many as memory is for.

        Raises:
            DataError: one cannot be read.
        """
        chosen = self._indices[_some(len(self), MOST_IN_MEMORY, self._seed)]
        parts = list(self._read(chosen))
        labels = [each.labels for each in parts if each.labels is not None]
        return ImageSet(np.concatenate([each.images for each in parts]), np.concatenate(labels) if labels else None)

    def _read(self, indices: Int[np.ndarray, " n"]) -> Iterator[ImageSet]:
        for first in range(0, len(indices), BATCH):
            index = indices[first : first + BATCH]
            samples = self._source.read(index, [np.random.default_rng([self._seed, int(each)]) for each in index])
            are_classes = samples.labels.ndim == 1 and not samples.labels.is_floating_point()
            labels = samples.labels.numpy() if are_classes else None
            yield ImageSet(self._dataset.to_images(samples.latents).numpy(), labels)


def _some(count: int, most: int | None, seed: int) -> Int[np.ndarray, " n"]:
    """Indices in order: all, or as many as are wanted."""
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def controls(train: ImageSet, seed: int) -> dict[str, ImageSet]:
    """Sets that a sound judgement refuses: noise, and of labelled images class means, shuffled labels and a copy."""
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 256, train.images.shape, dtype=np.uint8)
    found = {"noise": ImageSet(noise, train.labels)}
    if train.labels is not None:
        classes, place = np.unique(train.labels, return_inverse=True)
        means = np.stack([train.images[train.labels == each].mean(axis=0) for each in classes])
        found["class means"] = ImageSet(means.round().astype(np.uint8)[place], train.labels)
        found["shuffled labels"] = ImageSet(train.images, generator.permutation(train.labels))
    return found | {"copy": train}


class Judge:
    """Compares sets of images with real ones.

    Where features bring no verdicts on classes, a linear classifier learns them from the features of the real images.

    Args:
        features: of pictures; they are fitted to the real ones.
        metrics: those that need what the features do not give are left out.
        real: the real images.
        device: where features are computed, if they gain from one.

    Raises:
        DataError: the real images cannot be read, or the features not be told.
    """

    def __init__(
        self,
        features: Features,
        metrics: Sequence[Metric],
        real: RealImages | ImageSet,
        device: torch.device | None = None,
    ) -> None:
        self.features, self.metrics = features, metrics
        features.to(device or torch.device("cpu"))
        sample = real.in_memory()
        features.fit(sample.images, sample.labels)
        self._classifier: LinearClassifier | None = None
        found = self.features_of(real.batches())
        if found.verdicts is None and found.labels is not None and len(np.unique(found.labels)) > 1:
            self._classifier = LinearClassifier(found.pooled, found.labels)
            found = self._classifier.judged(found)
        self.real = found

    @property
    def classifier(self) -> str | None:
        """Who gives the verdicts on classes, in words; None where nobody does."""
        if self.real.verdicts is None:
            return None
        return "linear discriminants of the features" if self._classifier else "the features' own"

    def features_of(self, batches: Iterable[ImageSet]) -> FeatureSet:
        """What the metrics compare.

        Raises:
            DataError: the features cannot be told.
        """
        found = FeatureSet.joined([self.features.of(each.images, each.labels) for each in batches])
        return self._classifier.judged(found) if self._classifier else found

    def figures(self, generated: FeatureSet) -> dict[str, float]:
        """Every figure that the features allow, of a set beside the real images."""
        found: dict[str, float] = {}
        for metric in self.metrics:
            if all(getattr(each, need) is not None for need in metric.needs for each in (self.real, generated)):
                found.update(metric.measure(self.real, generated))
        return found
