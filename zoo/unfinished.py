"""Where files and folders are while they are written: beside their place, and each writer in a folder of its own."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from zoo import flock

UNFINISHED = ".unfinished"
_FOLDER_ALONE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)  # Windows has neither, nor locks


def unfinished_of(path: Path, mark: str = "") -> Path:
    """Where a file or folder is while it is written.

    Args:
        path: its place.
        mark: of one that is written while another is.
    """
    return path.with_name(f".{path.name}{mark}{UNFINISHED}")


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """An empty folder beside a path for what is to be there; it is gone when the block ends, unless it was renamed.

    Nobody else writes into it, though others may be writing the same at the same time. One that a crash has left is
    emptied and taken again, where locks tell that nobody is in it.

    Raises:
        OSError: it cannot be made.
    """
    folder, held = _take(path)
    try:
        yield folder
    finally:
        with suppress(OSError):
            if held is None or _is(folder, held):  # or another's has its name by now
                remove(folder)
        if held is not None:
            os.close(held)


def remove(path: Path) -> None:
    """Remove a file, a folder, or a link and not what it leads to; or nothing, if there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _take(path: Path) -> tuple[Path, int | None]:
    """An empty folder, and the descriptor that it is locked by; None where nothing can be locked."""
    count = 0
    while flock.fcntl is not None:
        folder = unfinished_of(path, f".{count}" if count else "")
        is_new = _make(folder)
        with ExitStack() as stack:
            try:
                held = os.open(folder, os.O_RDONLY | _FOLDER_ALONE)
                stack.callback(os.close, held)
                refused = flock.lock(held)
            except FileNotFoundError:  # it was another's, who has finished
                continue
            except BlockingIOError:
                count += 1
                continue
            if refused is not None:
                with suppress(OSError):
                    folder.rmdir()
                break
            if _is(folder, held):
                if is_new:
                    stack.pop_all()
                    return folder, held
                remove(folder)  # what a crash has left
    folder = unfinished_of(path, f".{uuid.uuid4().hex}")
    folder.mkdir()
    return folder, None


def _make(folder: Path) -> bool:
    """Make a folder; whether it was not there. What else has its name goes."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        remove(folder)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _is(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    except OSError:
        return False
