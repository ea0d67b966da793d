"""Features of the images that an evaluation has drawn, on the disk until it is done, so that it can be gone on with."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from zoo.errors import RunError
from zoo.evaluate import FeatureSet
from zoo.files import write_whole
from zoo.runs.kept_places import place_of
from zoo.unfinished import remove

SECONDS = "seconds"


class KeptFeatures:
    """The features of each batch, in a file of its own. Where they cannot be kept, the evaluation goes on without.

    Args:
        place: a folder that evaluations share; None to keep nothing.

    Attributes:
        folder: in it, of this evaluation alone; None until that has begun, and where nothing is kept.
    """

    def __init__(self, place: Path | None) -> None:
        self.place = place
        self.folder: Path | None = None

    @property
    def are_some(self) -> bool:
        """Whether there is something to go on with."""
        return self.folder is not None and any(self.folder.glob("*.safetensors"))

    def begin(self, depends_on: Mapping[str, Any], *, resume: bool, checkpoint: str = "") -> bool:
        """Make the folder; whether there is something in it to go on with, which goes unless that is wanted.

        Args:
            depends_on: all that the features are a function of, as plain values.
            resume: go on with what there is.
            checkpoint: that the weights are of, as they say, if they are of any.
        """
        assert self.place is not None
        digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
        self.folder = place_of(self.place, digest[:16], checkpoint)
        try:
            if not resume:
                remove(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.are_some
        except OSError as error:
            self._without(f"{self.folder}: {error.strerror}")
            return False

    def read(self, batch: int) -> tuple[FeatureSet, float] | None:
        """What is known of a batch, and the seconds that drawing it took; None if it has to be drawn."""
        if self.folder is None:
            return None
        try:
            found = load_file(self._path(self.folder, batch))
            seconds = float(found.pop(SECONDS)[0])
            return FeatureSet(**found), seconds
        except (OSError, SafetensorError, TypeError, LookupError):  # not drawn yet, or damaged
            return None

    def write(self, batch: int, features: FeatureSet, seconds: float) -> None:
        """Keep what is known of a batch."""
        if self.folder is None:
            return
        own = {field.name: getattr(features, field.name) for field in fields(features)}
        arrays = {name: np.ascontiguousarray(each) for name, each in own.items() if each is not None}
        try:
            write_whole(self._path(self.folder, batch), save({**arrays, SECONDS: np.array([seconds])}), RunError)
        except RunError as error:
            self._without(str(error))

    def remove(self) -> None:
        """Remove all: the evaluation is done."""
        if self.folder is not None:
            try:
                remove(self.folder)
            except OSError as error:
                warnings.warn(f"{self.folder}: cannot be removed: {error.strerror}", stacklevel=2)

    def _path(self, folder: Path, batch: int) -> Path:
        return folder / f"{batch:06d}.safetensors"

    def _without(self, reason: str) -> None:
        self.folder = None
        warnings.warn(f"{reason}; if it is interrupted, this evaluation cannot be gone on with", stacklevel=3)
