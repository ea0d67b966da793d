"""Tensors that are kept on a machine, so that they are computed once; never trusted blindly, and never in the way."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.data.fingerprint import sha256_of
from zoo.errors import RunError, first_line
from zoo.files import safetensors, write_whole
from zoo.mapped import named_in_text

HASH = "sha256"


def cache_file(name: str, made_by: Mapping[str, Any]) -> Path:
    """Where something is kept: in ``zoo`` in the folder that XDG_CACHE_HOME names, or in ``~/.cache``.

    Args:
        name: what it is.
        made_by: all that it is a function of, as plain values.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
    return folder / "zoo" / f"{name}-{digest[:16]}.safetensors"


def read_cached(file: Path) -> dict[str, Tensor] | None:
    """What is kept there; None if nothing is, or with a warning if it is damaged."""
    try:
        file.stat()  # safetensors tells a missing file in words of its own
        with named_in_text(file) as named, safe_open(named, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            wanted = (opened.metadata() or {}).get(HASH)
        if sha256_of(tensors) != wanted:
            raise ValueError("its SHA-256 differs")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        warnings.warn(f"{file}: cannot be used, and is made anew: {first_line(error)}", stacklevel=2)
        return None
    return tensors


def keep_cached(file: Path, tensors: Mapping[str, Tensor], what: str) -> None:
    """Keep tensors, or warn that it cannot be done; ``what`` they are is then computed every time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, safetensors(tensors, {HASH: sha256_of(tensors)}), RunError)
    except (OSError, RunError) as error:
        warnings.warn(f"{what} every time: {error}", stacklevel=2)
