"""What features and metrics promise. Letters in shapes: n images, D features, S spatial features, K classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int, UInt8

if TYPE_CHECKING:
    import torch


BATCH = 512
"""Pictures that are read, and turned into features, at once."""


@dataclass(frozen=True)
class FeatureSet:
    """What is known of a set of images, an image a row.

    Attributes:
        pooled: features of the whole image [n, D].
        labels: the classes that the images are of, or were asked for [n]; None if they have none.
        spatial: features that keep places [n, S]; None where a network gives none.
        probabilities: of each class, by the features' own classifier [n, K]; None where it has none.
        verdicts: the class that an independent classifier sees [n]; None where there is none.
    """

    pooled: Float[np.ndarray, "n D"]
    labels: Int[np.ndarray, " n"] | None = None
    spatial: Float[np.ndarray, "n S"] | None = None
    probabilities: Float[np.ndarray, "n K"] | None = None
    verdicts: Int[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.pooled)

    def rows(self, index: Int[np.ndarray, " m"]) -> Self:
        """Those of the images at ``index``."""
        taken = {field.name: getattr(self, field.name) for field in fields(self)}
        found: dict[str, Any] = {name: None if each is None else each[index] for name, each in taken.items()}
        return type(self)(**found)

    @classmethod
    def joined(cls, parts: Sequence[FeatureSet]) -> FeatureSet:
        """Several sets as one; what one of them has, all have."""
        columns: dict[str, Any] = {}
        for field in fields(cls):
            found = [getattr(part, field.name) for part in parts]
            columns[field.name] = None if found[0] is None else np.concatenate(found)
        return cls(**columns)


class Gaussian(NamedTuple):
    """Mean [D] and covariance [D, D] of features, in float64."""

    mean: Float[np.ndarray, " D"]
    covariance: Float[np.ndarray, "D D"]


class Moments(NamedTuple):
    """What is known of features of real images whose pictures need not be there.

    Attributes:
        pooled: of those of whole images.
        spatial: of those that keep places; None where that is not known.
    """

    pooled: Gaussian
    spatial: Gaussian | None = None


class Images(ABC):
    """Pictures, of which as many as wanted are in memory."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def batches(self) -> Iterator[ImageSet]:
        """All of them, some at a time, in an order that stays.

        Raises:
            DataError: one cannot be read.
        """

    @abstractmethod
    def in_memory(self) -> ImageSet:
        """All of them, or a choice of as many as memory is for.

        Raises:
            DataError: one cannot be read.
        """


@dataclass(frozen=True)
class ImageSet(Images):
    """Pictures in memory, and their classes.

    Attributes:
        images: 8-bit [n, H, W, 1 (grey) or 3 (RGB)].
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


class Features(ABC):
    """Turns pictures into numbers that metrics compare. Constructor: ``(*, options)``, which reads nothing."""

    kind: ClassVar[str] = "features"

    def to(self, device: torch.device) -> None:  # noqa: B027 - most features need no device
        """Compute there from now on, if that is worth it; features stay on the CPU unless they override this."""

    def check(self) -> None:  # noqa: B027 - most features need nothing
        """Look for what the features need, such as a file, before anything is read, trained or drawn for them.

        Raises:
            DataError: it is not there; the message says how to get it.
        """

    @abstractmethod
    def fit(self, real: Images) -> None:
        """Learn what is to be learnt from the real images that others are compared with.

        Raises:
            DataError: a file that the features need is missing, or cannot be used; or they are for other images.
        """

    @abstractmethod
    def of(self, images: UInt8[np.ndarray, "n H W C"], labels: Int[np.ndarray, " n"] | None) -> FeatureSet:
        """Features of 8-bit pictures with 1 (grey) or 3 (RGB) channels.

        Raises:
            DataError: the features cannot be told.
        """

    def record(self) -> dict[str, Any]:
        """What tells these features from others with the same options, such as the hash of a file, as plain values.

        ``fit`` comes first.
        """
        return {}


class Metric(ABC):
    """Compares generated images with real ones. Constructor: ``(*, options)``."""

    kind: ClassVar[str] = "metric"
    needs: ClassVar[tuple[str, ...]] = ("pooled",)
    """Fields of a ``FeatureSet`` without which it cannot be told: of ``pooled``, ``labels``, ``spatial``,
    ``probabilities`` and ``verdicts``."""
    more_is_better: ClassVar[tuple[str, ...]] = ()
    """Those of its figures of which more is better; of the others, less is."""

    @abstractmethod
    def measure(self, real: FeatureSet, generated: FeatureSet) -> Mapping[str, float]:
        """One finite figure or several, by name. Both sets have what the metric ``needs``.

        Raises:
            ValueError: there are too few images to tell.
        """

    def measure_moments(self, real: Moments, generated: FeatureSet) -> Mapping[str, float] | None:
        """The figures beside mean and covariance that somebody has found of real images' features.

        None where these do not tell them, as most metrics have it.

        Raises:
            ValueError: there are too few images to tell.
        """
        return None
