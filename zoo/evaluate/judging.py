"""Generated images beside real ones and beside controls that must fail, in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8

from zoo.data import Dataset, Split
from zoo.evaluate.base import Features, FeatureSet, Metric

BATCH = 512


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

    def rows(self, index: Int[np.ndarray, " m"]) -> ImageSet:
        """The pictures at ``index``."""
        return ImageSet(self.images[index], None if self.labels is None else self.labels[index])


def real_images(dataset: Dataset, split: Split, seed: int) -> ImageSet:
    """All pictures of a split.

    Raises:
        DataError: it cannot be read.
    """
    source = dataset.open(split)
    images, labels = [], []
    for first in range(0, len(source), BATCH):
        index = np.arange(first, min(first + BATCH, len(source)))
        samples = source.read(index, [np.random.default_rng([seed, int(each)]) for each in index])
        images.append(dataset.to_images(samples.latents).numpy())
        labels.append(samples.labels)
    found = torch.cat(labels)
    are_classes = found.ndim == 1 and not found.is_floating_point()
    return ImageSet(np.concatenate(images), found.numpy() if are_classes else None)


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


def judge(
    features: Features, metrics: Sequence[Metric], train: ImageSet, sets: Mapping[str, ImageSet]
) -> dict[str, dict[str, float]]:
    """Every figure that the features allow, of every set beside the training images.

    Args:
        features: of pictures; they are fitted to ``train``.
        metrics: those that need what the features do not give are left out.
        train: the real images.
        sets: what is compared with them, by name.

    Returns:
        Figures by set and name.
    """
    features.fit(train.images, train.labels)
    real = _of(features, train)
    return {name: _figures(metrics, real, _of(features, each)) for name, each in sets.items()}


def _of(features: Features, images: ImageSet) -> FeatureSet:
    parts = [
        features.of(each.images, each.labels)
        for first in range(0, len(images), BATCH)
        for each in [images.rows(np.arange(first, min(first + BATCH, len(images))))]
    ]
    return FeatureSet.joined(parts)


def _figures(metrics: Sequence[Metric], real: FeatureSet, generated: FeatureSet) -> dict[str, float]:
    figures: dict[str, float] = {}
    for metric in metrics:
        if all(getattr(each, need) is not None for need in metric.needs for each in (real, generated)):
            figures.update(metric.measure(real, generated))
    return figures
