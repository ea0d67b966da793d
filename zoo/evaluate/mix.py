"""Which real images stand beside the generated ones: of the classes that these are asked to be of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from zoo.evaluate import ImageSet
from zoo.evaluate.judging import RealImages, classes_in, rows_of_classes, some_of
from zoo.sampling.labels import classes_for


@dataclass(frozen=True)
class Mix:
    """The classes of generated images.

    Attributes:
        choice: how they are chosen.
        count: generated images.
        seed: of the choice.
        are_classes: whether labels are class indices.
    """

    choice: Literal["balanced", "random", "data"]
    count: int
    seed: int
    are_classes: bool

    def of_held_out(self, held_out: RealImages) -> Int[np.ndarray, " n"]:
        """Which of the held-out images to take.

        A generator may be asked for classes of which no image is held out; a floor can only be of the others.
        """
        is_mixed = self.choice != "data" and self.are_classes
        labels = classes_in(held_out.source.labels(held_out.indices)) if is_mixed else None
        if self.choice == "data" or labels is None:
            return some_of(len(held_out), self.count, self.seed)
        return rows_as_drawn(labels, classes_for(np.unique(labels), self.count, self.choice, self.seed), self.seed)

    def of_controls(self, real: ImageSet) -> Int[np.ndarray, " n"]:
        """Which real images controls are made of: all, or of those classes that there are."""
        if real.labels is None or self.choice == "data" or not self.are_classes:
            return np.arange(len(real))
        return rows_of_classes(real.labels, classes_for(np.unique(real.labels), len(real), self.choice, self.seed))


def rows_as_drawn(labels: Int[np.ndarray, " n"], wanted: Int[np.ndarray, " m"], seed: int) -> Int[np.ndarray, " rows"]:
    """Rows of labelled images, chosen at random and in order, that have the mix of the wanted classes.

    They are of the first of the wanted classes, up to the one of which no image is left: no image comes twice, which
    would make the set narrower than real images are, and the mix stays what it is.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    left = {each: iter(order[labels[order] == each]) for each in np.unique(labels).tolist()}
    rows = []
    for each in wanted.tolist():
        row = next(left[each], None)
        if row is None:
            break
        rows.append(row)
    return np.sort(np.array(rows, dtype=np.int64))
