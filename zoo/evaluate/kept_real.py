"""Features of real images, kept on a machine: evaluations that look at the same ones alike compute them once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.data.cache import cache_file, keep_cached, read_cached
from zoo.evaluate.base import Features, FeatureSet
from zoo.evaluate.elsewhere import Given
from zoo.evaluate.evaluation_record import libraries
from zoo.evaluate.judging import RealImages
from zoo.plugins import UNPACKAGED
from zoo.recipe import Recipe
from zoo.recipe.parts import AnyPart

KEPT_FROM = 2_000
"""Images of a set whose features are kept, at least: those of fewer are computed in a moment."""


def file_of(
    images: RealImages | Given,
    recipe: Recipe,
    features: Features,
    fitted_to: RealImages | Given,
    device: torch.device,
) -> Path | None:
    """Where the features of a set are kept; None of one that is too small, and where nothing tells a part's code.

    Args:
        images: of the set.
        recipe: says what is compared, and how.
        features: that have been fitted.
        fitted_to: the images that they have been fitted to.
        device: that features are computed on.

    Raises:
        DataError: the images cannot be told from others.
    """
    parts = (recipe.evaluate.features, recipe.data.dataset)
    if len(images) < KEPT_FROM or any(UNPACKAGED in spec.plugins.values() for spec in parts):
        return None
    asked = {
        "features": _part(recipe.evaluate.features),
        "record": features.record(),
        "dataset": _part(recipe.data.dataset),
        "latent": recipe.backbone.latent.model_dump(mode="json"),
        "fitted_to": identity(fitted_to),
        "device": device.type,
        "libraries": libraries(),
        "images": identity(images),
    }
    return cache_file("features-of-real", asked)


def identity(images: RealImages | Given) -> Mapping[str, Any]:
    """What tells images from others, as plain values: an edited file has another time, if no other size.

    Of a dataset's images one is also looked at, as it is shown: it tells what decodes latents from another.

    Raises:
        DataError: they cannot be read.
    """
    if isinstance(images, Given):
        return {"given": images.digest()}
    return {
        "data": images.source.fingerprint().model_dump(mode="json"),
        "left_out": _digest(images.left_out.mask),
        "indices": _digest(images.indices),
        "first": _digest(images.first()),
        "seed": images.seed,
    }


def read_features(file: Path) -> FeatureSet | None:
    """What is kept there; None if nothing is, or nothing sound."""
    return read_cached(file, lambda found, _: FeatureSet(**{name: each.numpy() for name, each in found.items()}))


def keep_features(file: Path, found: FeatureSet) -> None:
    """Keep them, or warn that it cannot be done; verdicts that are no numbers stay what is computed every time."""
    own = {field.name: getattr(found, field.name) for field in fields(found)}
    arrays = {name: np.ascontiguousarray(each) for name, each in own.items() if each is not None}
    if any(each.dtype.kind not in "fiub" for each in arrays.values()):
        return
    tensors = {name: torch.from_numpy(each) for name, each in arrays.items()}
    keep_cached([file], tensors, "features of real images are computed")


def _part(spec: AnyPart) -> dict[str, Any]:
    return {"part": spec.resolved(), "of": dict(spec.plugins), "versions": [str(each) for each in spec.versions]}


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()
