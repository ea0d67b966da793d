"""What images are asked to be of: classes in turn, classes at random, or labels of the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zoo.classes import UNKNOWN, Classes
from zoo.data import Source
from zoo.errors import DataError, PluginError, ZooError, first_line, in_words, printable
from zoo.labels import Labels, as_floats, checked, class_indices, in_turn, join, length, map_labels, rows
from zoo.parts import ClassConditioner, IndexConditioner
from zoo.randomness import Purpose, generator_at
from zoo.sampling.label_files import LabelFile
from zoo.shell import command

Choice = Literal["data", "balanced", "random"]


@dataclass(frozen=True)
class ImageLabels:
    """What images are asked to be of, one label an image; where there are fewer labels than images, in turn.

    Attributes:
        values: what the class conditioner takes; zeros where it takes nothing.
        are_classes: they are class indices.
        samples: names of the dataset's samples that they are of; None where they are not of the dataset.
        texts: that say them; None where they are not said so.
    """

    values: Labels
    are_classes: bool = False
    samples: tuple[str, ...] | None = None
    texts: tuple[str, ...] | None = None

    def classes(self, first: int, last: int) -> Int[np.ndarray, " m"] | None:
        """Class indices of images ``first`` to ``last - 1``; None where the labels are none."""
        found = class_indices(in_turn(self.values, range(first, last))) if self.are_classes else None
        return None if found is None else found.numpy()

    def record(self, count: int, known: Classes = UNKNOWN) -> dict[str, Any]:
        """The labels of the first ``count`` images, as plain values: classes, or names of samples that have them."""
        classes = self.classes(0, count)
        if classes is not None:
            labels = classes.tolist()
            names = known.names_of(labels)
            counts = {"labels": labels, "classes": counts_of(classes)}
            return {**counts, "class_names": names} if names else counts
        if self.texts is not None:
            return {"labels": None, "label_texts": [self.texts[index % len(self.texts)] for index in range(count)]}
        return {"labels": None} if self.samples is None else {"labels_of": list(self.samples[:count])}


def counts_of(labels: Int[np.ndarray, " n"] | None) -> dict[str, int] | None:
    """How many images are of which class, by class, as JSON has it; None where there are no classes."""
    if labels is None:
        return None
    classes, counts = np.unique(labels, return_counts=True)
    return dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True))


def labels_for(
    conditioner: ClassConditioner,
    count: int,
    choice: Choice,
    seed: int,
    open_data: Callable[[], tuple[Source, Int[np.ndarray, " n"]]],
    there: Sequence[int] | None = None,
) -> ImageLabels:
    """Labels of ``count`` images; the first ones are the same whatever the count.

    Args:
        conditioner: that takes them. Labels that are no class indices are the dataset's, whatever the ``choice``.
        count: images.
        choice: ``balanced``, classes in turn; ``random``, each class as likely as any other; or ``data``, those of the
            dataset's samples in a random order, again and again.
        seed: of what is random.
        open_data: the samples of the dataset, and indices of those that are taken; not called where they are not asked
            for.
        there: classes to choose among, such as those that have samples; all where that is not known.

    Raises:
        DataError: labels of the dataset are needed and cannot be read, or are not what the conditioner takes.
    """
    if not conditioner.uses_labels:
        return ImageLabels(torch.zeros(count, dtype=torch.int64))
    is_index = isinstance(conditioner, IndexConditioner)
    if isinstance(conditioner, IndexConditioner) and choice != "data":
        own = np.arange(conditioner.num_classes)
        chosen = own if there is None or len(there) == 0 else np.intersect1d(own, there)
        return ImageLabels(torch.from_numpy(classes_for(chosen, count, choice, seed)), are_classes=True)
    try:
        source, among = open_data()
        order = generator_at(seed, Purpose.LABELS, 1, 0).permutation(len(among))
        samples = among[np.resize(order, count)]  # which comes again when all have been
        read, place = np.unique(samples, return_inverse=True)
        values = rows(source.labels(read), torch.from_numpy(place))
        refuse_other_labels(conditioner, values)
    except DataError as error:
        if is_index:
            raise
        raise DataError(
            f"the labels are no class indices, and those of the dataset cannot be read: {error}; let"
            " data.dataset say where it is"
        ) from error
    except ValueError as error:  # of the conditioner
        raise DataError(f"the class conditioner does not take the labels of the dataset: {error}") from error
    return ImageLabels(values, is_index, None if is_index else tuple(map(source.id, samples.tolist())))


def classes_for(
    classes: Int[np.ndarray, " n"], count: int, choice: Literal["balanced", "random"], seed: int
) -> Int[np.ndarray, " count"]:
    """Classes for ``count`` images: some in turn or, drawn from the ``seed``, each as likely as any other."""
    if choice == "balanced":
        return np.resize(classes, count)
    return classes[(generator_at(seed, Purpose.LABELS, 0, 0).random(count) * len(classes)).astype(np.int64)]


def refuse_other_labels(conditioner: ClassConditioner, labels: Labels, count: int | None = None) -> None:
    """Refuse labels that a conditioner does not take, or fails on.

    Args:
        conditioner: that is to take them.
        labels: of samples.
        count: of samples; as many as there are labels, if left out.

    Raises:
        ValueError: what was expected and what was given, or how it fails.
    """
    try:
        own = length(checked(labels))
        conditioner.check_labels(labels, own if count is None else count)
    except ValueError:
        raise
    except Exception as error:  # such as an IndexError, of a plug-in that takes it for granted how many axes there are
        raise ValueError(f"{type(error).__name__}: {first_line(error)}") from error


def given_labels(conditioner: ClassConditioner, given: LabelFile) -> ImageLabels:
    """Labels of images: the rows of a file in turn.

    Raises:
        ZooError: they are not what the conditioner takes, or not finite.
    """
    where = f"--labels-file {printable(str(given.path))}"
    if not conditioner.uses_labels:
        raise ZooError(f"{where}: this backbone is unconditional; leave it out")
    if not length(given.labels):
        raise ZooError(f"{where}: holds no row; give one for each image")
    try:
        labels = as_floats(given.labels, conditioner.example_labels(1, "meta"))
        refuse_other_labels(conditioner, labels)
    except ValueError as error:
        raise ZooError(f"{where}: is not what the class conditioner takes: {error}") from error
    if (row := _not_finite(conditioner, labels)) is not None:
        raise ZooError(f"{where}: row {row} (the first is 0) holds NaN or infinite values; mend it, or leave it out")
    return ImageLabels(labels, are_classes=isinstance(conditioner, IndexConditioner))


def _not_finite(conditioner: ClassConditioner, labels: Labels) -> int | None:
    """The first row that holds what is no number, and is not NaN where null is, as for what is unsaid."""

    def wrong(own: Tensor, null: Tensor) -> Tensor:
        sound = own.double().isfinite() | (own.isnan() & null.isnan())
        return (~sound).unsqueeze(-1).flatten(1).any(dim=1)

    found = map_labels(wrong, labels, conditioner.null(labels))
    places = [each.nonzero() for each in ([found] if isinstance(found, Tensor) else found.values())]
    return min((int(each[0]) for each in places if len(each)), default=None)


def said_labels(conditioner: ClassConditioner, texts: Sequence[str]) -> ImageLabels:
    """Labels of images: what texts say, in turn.

    Raises:
        ZooError: one says none; or the part fails at it.
    """
    found = []
    for text in texts:
        where = command("--labels", text)
        try:
            labels = conditioner.parse(text)
            refuse_other_labels(conditioner, labels, 1)
        except ValueError as error:
            raise ZooError(f"{where}: {error}") from error
        except Exception as error:
            raise PluginError(f"{where}: {type(conditioner).__name__} fails in parse(): {in_words(error)}") from error
        found.append(labels)
    return ImageLabels(join(found), texts=tuple(texts))


def wanted_labels(conditioner: ClassConditioner, wanted: Sequence[int]) -> ImageLabels:
    """Labels of images: the wanted classes in turn.

    Raises:
        ZooError: a class that the backbone does not have.
    """
    if not conditioner.uses_labels:
        raise ZooError("--labels: this backbone is unconditional; leave it out")
    if not isinstance(conditioner, IndexConditioner):
        raise ZooError(
            "--labels: this backbone takes labels that no text says; give them by --labels-file, or leave it out for"
            " those of the dataset"
        )
    outside = [label for label in wanted if not 0 <= label < conditioner.num_classes]
    if outside:
        raise ZooError(f"--labels: {outside[0]} is no class; they go from 0 to {conditioner.num_classes - 1}")
    return ImageLabels(torch.tensor(wanted), are_classes=True)
