"""Pickles of ``torch.save``.

A pickle can do anything when it is loaded, so it is read with PyTorch's ``weights_only``, which runs none of its code.
"""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - what PyTorch raises; nothing is read by it
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.progress import Progress

from zoo.errors import WeightsError

HARMLESS = (argparse.Namespace,)
"""Classes of training checkpoints that only hold values: their settings."""

LONGEST_REASON = 2_000
"""Characters. PyTorch looks through its reason, which may tell all that a file holds, by a pattern that takes its
length squared."""

TOLD = 200
"""Characters of a library's reason, or of a name, at most."""

CHUNK = 2**20


class RefusedPickleError(UnpicklingError):
    """PyTorch's reason to refuse a pickle, within bounds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:LONGEST_REASON])


def read_pickle(path: Path, *, zipped: bool) -> Any:
    """What a file of ``torch.save`` holds.

    Args:
        path: of the file.
        zipped: whether it is an archive, which PyTorch writes since 1.6.

    Raises:
        WeightsError: it is damaged, or needs code to be loaded.
    """
    if zipped:
        _check_archive(path)
    try:
        with (
            torch.serialization.safe_globals(list(HARMLESS)),
            patch("torch._weights_only_unpickler.UnpicklingError", RefusedPickleError, create=True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of protocols, which the error below tells
            # A file of before PyTorch 1.6 is no archive, and cannot be mapped into memory.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)  # noqa: TID251
    except UnpicklingError as error:
        reason = error.__context__ or error  # PyTorch tells it between pages of advice
        _refuse_code(path, str(reason))
        if "Unsupported operand" in str(reason):
            raise WeightsError(
                f"{path}: is a pickle of a form that PyTorch reads only by running its code, such as of"
                " pickle_protocol 4, or it is damaged; load it where you trust it, and save it again with torch.save"
            ) from error
        raise damaged(path, reason) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise damaged(path, error) from error


def _refuse_code(path: Path, told: str) -> None:
    """Name what a pickle would import: all of it for an archive, and the first for a file of before PyTorch 1.6."""
    found = set(re.findall(r"GLOBAL (\S+) was not an allowed global", told))
    with suppress(Exception):  # no archive, or a damaged one
        found |= set(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    needed = sorted({name[:TOLD] for name in found} - {f"{each.__module__}.{each.__qualname__}" for each in HARMLESS})
    if needed:
        raise WeightsError(
            f"{path}: needs the code of {', '.join(needed)} to be loaded, and a pickle's code can do anything, so zoo"
            " runs none of it; load it where you trust it, and save what its `ema` or `model` holds with torch.save"
        )


def _check_archive(path: Path) -> None:
    """Look for a checkpoint in an archive, and compare the archive with its checksums.

    PyTorch does not do so for a file that is mapped into memory.
    """
    try:
        with zipfile.ZipFile(path) as archive, progress() as shown:
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                raise WeightsError(f"{path}: is a zip archive with no checkpoint of torch.save in it; unpack it first")
            records = [record for record in archive.infolist() if record.CRC]  # 0 where they were not computed
            task = shown.add_task("reading", total=sum(record.file_size for record in records))
            for record in records:
                with archive.open(record) as file:
                    while chunk := file.read(CHUNK):
                        shown.advance(task, len(chunk))
    except WeightsError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise damaged(path, error) from error


def progress() -> Progress:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    return Progress(console=console, disable=not console.is_terminal, transient=True)


def damaged(path: Path, error: BaseException) -> WeightsError:
    """What is said of a file that its library cannot read."""
    text = str(error).strip().split("\n")[0].split(". ")[0]
    reason = (text if " " in text else repr(error))[:TOLD]
    return WeightsError(f"{path}: is damaged or cut off: {reason}; copy or download it again")
