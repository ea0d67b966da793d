"""The floor, figures of real images that training has not seen: which of them, and when it or other figures mislead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

IMAGES_PER_FEATURE = 10
"""Below which a covariance of the features is mostly chance."""


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


def doubts_of(generated: int, real: int, held_out: int | None, features: int) -> Iterator[str]:
    """A line for each reason to trust figures less than their digits look.

    Args:
        generated: images that were drawn.
        real: images that they are compared with.
        held_out: images that the floor is of; None where there is no floor.
        features: numbers of an image, of which metrics estimate the covariance.
    """
    enough = IMAGES_PER_FEATURE * features
    few = [f"{count} {name}" for count, name in ((generated, "drawn"), (real, "real")) if count < enough]
    if few:
        where = [f"evaluate.count={enough}"] * (generated < enough) + ["more data"] * (real < enough)
        yield (
            f"figures of {' and '.join(few)} images are rough, and Frechet distances come out too large: {features}"
            f" features ask for {enough} images or more; take {' and '.join(where)}"
        )
    if held_out is not None and held_out < generated:
        yield (
            f"the floor is of {held_out} held-out images, all that there are in that mix of classes, and {generated}"
            " were drawn: a Frechet distance of fewer images comes out larger"
        )
