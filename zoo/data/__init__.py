"""Datasets and normalisations, and the deterministic stream of samples that training reads.

Types that are no classes: ``PathText``, that of an option that is a path, relative to the recipe that says it;
``PathOrName``, of one that is a path or, where there is no such file, a name; ``Split``, the part of a dataset that is
asked for: ``"train"`` or ``"held_out"``; ``Labels``, of samples: a tensor [B, ...], or several by name.
"""

from __future__ import annotations

from zoo.data import digits, huggingface, images, latents, normalize, npy, webdataset
from zoo.data.base import Dataset, Normalize, Samples, Source, Split, Statistics, two_axes
from zoo.data.fingerprint import Fingerprint, Group
from zoo.data.problems import Checked, Problem
from zoo.hooks import marked_in
from zoo.hookspecs import hookimpl
from zoo.labels import Labels
from zoo.signature import PathOrName, PathText

__all__ = [
    "Checked",
    "Dataset",
    "Fingerprint",
    "Group",
    "Labels",
    "Normalize",
    "PathOrName",
    "PathText",
    "Problem",
    "Samples",
    "Source",
    "Split",
    "Statistics",
    "two_axes",
    "zoo_parts",
]


@hookimpl
def zoo_parts() -> list[type]:
    """The built-in datasets and normalisations."""
    return marked_in(digits, images, latents, webdataset, huggingface, npy, normalize)
