"""Labels that a file holds, for what class indices cannot say: attributes, embeddings, several things by name."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load

from zoo.errors import ZooError, in_words, printable
from zoo.files import did_you_mean_file
from zoo.labels import Labels, checked


@dataclass(frozen=True)
class LabelFile:
    """A .npy file with a row for each image, or a .safetensors file with several such by name.

    Attributes:
        path: of the file.
        digest: SHA-256 of its bytes.
        labels: what it holds, a row for each image; the images beyond are of the first rows again.
    """

    path: Path
    digest: str
    labels: Labels


def read_labels(path: Path) -> LabelFile:
    """Read it.

    Raises:
        ZooError: there is no such file, or it holds no labels.
    """
    where = f"--labels-file {printable(str(path))}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ZooError(
            f"{where}: cannot be read: {error.strerror or in_words(error)}"
            f"{did_you_mean_file(path, ('.npy', '.safetensors'))}"
        ) from error
    try:
        if path.suffix == ".safetensors":
            found: object = load(content)
        else:
            found = torch.from_numpy(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
        labels = checked(found)
    except Exception as error:  # as Python reads a damaged header, of whatever kind
        raise ZooError(
            f"{where}: holds no labels: {in_words(error)}; give a .npy file with a row for each image, or a"
            " .safetensors file with such by name"
        ) from error
    return LabelFile(path, hashlib.sha256(content).hexdigest(), labels)
