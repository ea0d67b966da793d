"""Real images that samples are compared with: of the dataset, or pictures or moments from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from zoo.errors import DataError, MissingSplitError, ZooError
from zoo.evaluate.base import Features, Images, Moments
from zoo.evaluate.elsewhere import Given, pictures_at, read_moments
from zoo.evaluate.judging import RealImages
from zoo.recipe import Recipe
from zoo.recipe.options import REFERENCES


class Reference(NamedTuple):
    """What samples are compared with.

    Attributes:
        images: pictures; None where there are moments alone.
        moments: mean and covariance of features that somebody else has found of the pictures, or of more of them.
        doubts: a line for what of it is not gone by.
    """

    images: RealImages | Given | None
    moments: Moments | None = None
    doubts: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """How many there are."""
        return "moments of real ones" if self.images is None else f"{len(self.images)} real ones"


def reference_path(recipe: Recipe) -> Path:
    """Of the pictures or moments to compare with, where they are not of the dataset."""
    return Path(os.path.expanduser(recipe.evaluate.reference))


def find_reference(
    recipe: Recipe, features: Features, train: RealImages, open_held_out: Callable[[], RealImages]
) -> Reference:
    """What a recipe has samples compared with.

    Args:
        recipe: says where it is.
        features: those that fit themselves to real images are fitted to these.
        train: images of the training split.
        open_held_out: those of the other one.

    Raises:
        ZooError: moments are of other features, and there are no pictures beside them.
        DataError: there is no such reference, or it cannot be read.
    """
    if recipe.evaluate.reference == "train":
        found = Reference(train)
    elif recipe.evaluate.reference == "held_out":
        try:
            found = Reference(open_held_out())
        except MissingSplitError as error:
            raise DataError(f"evaluate.reference: held_out: {error}; or take train") from error
    else:
        path = reference_path(recipe)
        try:
            found = Reference(pictures_at(path, channels_of(train)), None if path.is_dir() else read_moments(path))
        except DataError as error:
            raise DataError(f"evaluate.reference: {error}") from error
    features.fit(found.images or train)
    if recipe.evaluate.reference not in REFERENCES:  # before anything is drawn that could not be compared
        features.of(next(train.batches()).images[:1], None)
    return found if found.moments is None else _of_these(found, recipe, features, train)


def channels_of(images: Images) -> int:
    """1 (grey) or 3 (RGB)."""
    channels: int = next(images.batches()).images.shape[3]
    return channels


def _of_these(found: Reference, recipe: Recipe, features: Features, train: RealImages) -> Reference:
    """The reference without moments of features of another width."""
    assert found.moments is not None
    own = features.of(next((found.images or train).batches()).images[:1], None)
    for mine, theirs in ((own.pooled, found.moments.pooled), (own.spatial, found.moments.spatial)):
        if mine is None or theirs is None or mine.shape[1] == len(theirs.mean):
            continue
        of = f"of {len(theirs.mean)} features, and {recipe.evaluate.features.type} gives {mine.shape[1]}"
        where = f"evaluate.reference: {reference_path(recipe)}: mean and covariance are {of}"
        if found.images is None:
            raise ZooError(f"{where}; take the evaluate.features that they are of")
        return Reference(found.images, None, (f"{where}: the figures are of its pictures alone",))
    return found
