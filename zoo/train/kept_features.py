"""Features of the images that an evaluation has drawn, on the disk until it is done, so that it can be gone on with."""

from __future__ import annotations

import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from zoo.errors import RunError
from zoo.evaluate import FeatureSet
from zoo.files import remove, write_whole

SECONDS = "seconds"


class KeptFeatures:
    """The features of each batch, in a file of its own. Where they cannot be kept, the evaluation goes on without.

    Args:
        folder: that is this evaluation's alone; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def begin(self, *, resume: bool) -> bool:
        """Make the folder; whether there is something in it to go on with, which goes unless that is wanted."""
        if self.folder is None:
            return False
        try:
            if not resume:
                remove(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            return any(self.folder.glob("*.safetensors"))
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
