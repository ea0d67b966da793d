"""Tensors that are kept on a machine, so that they are made once; never trusted blindly, and never in the way."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.data.fingerprint import sha256_of
from zoo.errors import DataError, first_line, printable
from zoo.files import safetensors, write_whole
from zoo.mapped import named_in_text

T = TypeVar("T")

HASH = "sha256"
FORMAT = 2
"""Of the files; those of another have other names."""

UNSOUND = (OSError, SafetensorError, ValueError, TypeError, LookupError, RuntimeError)
"""What reading something damaged raises."""


def cache_folder() -> Path | None:
    """Zoo's own: ``zoo`` in the folder that XDG_CACHE_HOME names, or in ``~/.cache``; None where there is no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"
    except RuntimeError:  # neither HOME nor an entry of this user in passwd
        return None


def cache_file(name: str, made_by: Mapping[str, Any]) -> Path | None:
    """Where something is kept in zoo's cache; None where there is none.

    Args:
        name: what it is.
        made_by: all that it is a function of, as plain values.
    """
    folder = cache_folder()
    digest = hashlib.sha256(json.dumps({"format": FORMAT, **made_by}, sort_keys=True).encode()).hexdigest()
    return None if folder is None else folder / f"{name}-{digest[:16]}.safetensors"


def read_cached(file: Path | None, make: Callable[[dict[str, Tensor], Mapping[str, str]], T]) -> T | None:
    """What is made of the tensors and the notes that are kept there; None if none are, or with a warning if damaged.

    Args:
        file: that they are kept in; None where nothing is.
        make: what makes it; it raises one of ``UNSOUND`` where they do not go together.
    """
    if file is None:
        return None
    try:
        file.stat()  # safetensors tells a missing file in words of its own
        with named_in_text(file) as named, safe_open(named, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            notes = dict(opened.metadata() or {})
        if notes.pop(HASH, None) != _digest(tensors, notes):
            raise ValueError("its SHA-256 differs")
        return make(tensors, notes)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UNSOUND as error:
        told = f"{printable(str(file))}: cannot be used, and is made anew: {first_line(error)}"
        warnings.warn(told, stacklevel=2)
        return None


def keep_cached(
    files: Sequence[Path | None], tensors: Mapping[str, Tensor], what: str, notes: Mapping[str, str] | None = None
) -> None:
    """Keep tensors in the first of some files that can be written, or warn that none can.

    Args:
        files: where they may be kept; None where zoo's cache would be, and there is none.
        tensors: what is kept.
        what: happens every time where they are not, for the warning.
        notes: kept with them.
    """
    notes = dict(notes or {})
    failed: object = "there is no home folder; set XDG_CACHE_HOME"
    for file in filter(None, files):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            content = safetensors(tensors, {**notes, HASH: _digest(tensors, notes)})
            return write_whole(file, content, DataError, synced=False)  # a damaged one is made anew
        except (OSError, DataError) as error:
            failed = error
    warnings.warn(f"{what} every time: {failed}", stacklevel=2)


def _digest(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> str:
    """Of all that the file holds."""
    kinds = {name: [str(each.dtype), list(each.shape)] for name, each in tensors.items()}
    text = json.dumps([sha256_of(tensors), kinds, dict(notes)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
