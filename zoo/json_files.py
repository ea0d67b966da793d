"""JSON that anyone may have written: what is too large or nested too deeply is refused as what is no JSON is."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

LARGEST = 2**30
"""Bytes of a file that is read; metrics of millions of steps have less."""

OPEN = re.compile(r"/dev/fd/\d+|/proc/self/fd/\d+")
"""What is open already."""


def read_json(path: Path) -> Any:
    """The values of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or beyond reason.
    """
    return parse_json(read_text(path))


def read_text(path: Path, *, piped: bool = False) -> str:
    """The text of a file in UTF-8.

    Args:
        path: the file.
        piped: whether it may be what a shell's ``<(...)`` gives, which can be read once.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no plain file, is too large, or is no UTF-8.
    """
    found = path.stat()
    of_shell = piped and stat.S_ISFIFO(found.st_mode) and OPEN.fullmatch(str(path))
    if not (stat.S_ISREG(found.st_mode) or of_shell):  # of another pipe nothing may ever come
        raise ValueError("it is no plain file")
    if found.st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST // 2**20} MiB")
    return path.read_text(encoding="utf-8")


def parse_json(text: str | bytes) -> Any:
    """The values of a text.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
