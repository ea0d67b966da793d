"""Networks in files of a user's own, whose features metrics compare."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from zoo.data.folders import shown
from zoo.errors import DataError, reason_of_network
from zoo.evaluate.base import Features, Images
from zoo.files import did_you_mean_file
from zoo.signature import MARK


class NetworkFile(NamedTuple):
    """What a file gives: a network, and the hash of the file."""

    network: Any
    sha256: str


def open_network(path: Path, device: torch.device) -> NetworkFile:
    """The network of a TorchScript file, or, where its name ends in ``.pt2``, of ``torch.export.save``.

    Either is a program: open only one that you trust.

    Raises:
        DataError: it is no such file; the message begins with its path.
    """
    exported = path.suffix == ".pt2"
    try:
        if not zipfile.is_zipfile(path):  # torch.export.load would log a traceback
            raise zipfile.BadZipFile("it is no zip archive, or not whole")
        network: Any
        if exported:
            network = torch.export.load(path).module().to(device)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's, of TorchScript as a whole
                network = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
        with path.open("rb") as file:
            return NetworkFile(network, hashlib.file_digest(file, "sha256").hexdigest())
    except Exception as error:  # of zip archives, pickles and two loaders of PyTorch
        kind = "program of torch.export.save" if exported else "file of torch.jit.save"
        told = f"{shown(str(path))}: is no {kind}: {reason_of_network(error)}"
        raise DataError(f"{told}; give a file that torch.jit.save wrote, or a .pt2 of torch.export.save") from error


def prepared(
    pictures: Float[Tensor, "B C H W"], side: int, channels: int, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "B channels side side"]:
    """Pictures in [0, 1] as a network takes them: resized, bicubic with antialiasing, and normalised by channel."""
    if pictures.shape[1] != channels:
        pictures = pictures.mean(1, keepdim=True).expand(-1, channels, -1, -1)  # grey, or to be
    if pictures.shape[2:] != (side, side):
        pictures = F.interpolate(pictures, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    shift, scale = (torch.tensor(each).to(pictures).view(-1, 1, 1) for each in (mean, std))
    return (pictures - shift) / scale


class FeaturesOfFile(Features):
    """Features of a network in a file that the user has.

    Args:
        file: its path; None where it is still to be said.
        batch: pictures that go through the network at once.
    """

    get: ClassVar[str]
    """What to do where there is no file."""

    def __init__(self, file: str | None, batch: int) -> None:
        self.file = None if file is None else Path(os.path.expanduser(file))  # unlike pathlib's, it takes any text
        self.batch = batch
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Run the network there from now on."""
        self._device = device

    def check(self) -> None:
        """Look for the file."""
        if self.file is None:
            raise DataError(f"features {self._name}: need a file; {self.get}")
        if not self.file.exists():
            raise self._error(f"there is no such file; {self.get}{did_you_mean_file(self.file, (self.file.suffix,))}")

    def fit(self, real: Images) -> None:
        """Read the file: there is nothing to learn from images."""
        self._sha256()

    def record(self) -> dict[str, Any]:
        """The file's name and its SHA-256."""
        return {"file": shown(self._path.name), "sha256": self._sha256()}

    @abstractmethod
    def _sha256(self) -> str:
        """Of the file, which is read once."""

    @property
    def _name(self) -> str:
        return str(getattr(type(self), MARK)[1])

    @property
    def _path(self) -> Path:
        assert self.file is not None, "check comes first"
        return self.file

    def _error(self, problem: str) -> DataError:
        return DataError(f"features {self._name}: {shown(self._path)}: {problem}")
