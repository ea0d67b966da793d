"""Files of tensors whose names are any bytes, as Linux lets them be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def named_in_text(path: Path) -> Iterator[Path]:
    """Another name of a file for safetensors, which maps none whose path is not UTF-8 into memory.

    Raises:
        OSError: it cannot be read.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield Path(f"/dev/fd/{file.fileno()}")
    else:
        yield path
