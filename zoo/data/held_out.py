"""A share of samples that is held out, by what each of them is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from zoo.data.base import Split
from zoo.data.folders import HELD_OUT, TRAIN, shown, split_folders
from zoo.errors import DataError, MissingSplitError

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
"""Of the samples that are held out, as the type of an option; 0 for none, or those of a folder of their own."""

DIGEST_SIZE = 8


def rows_of_split(folder: Path, names: Iterable[str], share: float, split: Split) -> Bool[np.ndarray, " n"]:
    """Which samples are of a split, where a share of them is held out.

    What is held out hangs on a sample's name alone: it stays so whatever is added, and where the share is raised.

    Args:
        folder: that they are in, for messages.
        names: of the samples, in order.
        share: that is held out, in (0, 1).
        split: which of them.

    Raises:
        DataError: there are none.
    """
    bound = int(share * 2.0 ** (8 * DIGEST_SIZE))
    hashes = (hashlib.blake2b(name.encode(), digest_size=DIGEST_SIZE).digest() for name in names)
    held_out = np.fromiter((int.from_bytes(each, "little") < bound for each in hashes), dtype=bool)
    found = held_out if split == "held_out" else ~held_out
    if not found.any():
        what, mend = ("held out", "raise") if split == "held_out" else ("left to train on", "lower")
        raise DataError(
            f"{shown(folder)}: none of {len(found)} samples is {what} by data.dataset.held_out: {share:g}; {mend} it"
        )
    return found


def listed_split(folder: Path, share: float, split: Split, parts: Mapping[Split, Path] | None = None) -> Split:
    """The split whose files are to be listed: those of ``train``, where a share of them is held out.

    Args:
        folder: of the dataset.
        share: that is held out; 0 for none.
        split: that is asked for.
        parts: where each split is that there is; as ``split_folders`` has it, if left out.

    Raises:
        MissingFolderError: there is no such folder.
        MissingSplitError: it has no held-out part, and no share of it is one.
        DataError: it has both.
    """
    parts = split_folders(folder) if parts is None else parts
    if share and "held_out" in parts:
        raise DataError(
            f"{shown(parts['held_out'])}: is held out, and data.dataset.held_out: {share:g} asks for a share besides;"
            " leave that out, or move the pictures into one folder"
        )
    if split not in parts and not share:
        raise MissingSplitError(
            f"{shown(folder)}: has no held-out part; divide it into sub-folders {TRAIN!r} and {HELD_OUT[0]!r}, or set"
            " data.dataset.held_out to a share of it, such as 0.05"
        )
    return "train" if share else split
