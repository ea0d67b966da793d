"""Where files and folders are while they are written: beside their place, and each writer in a folder of its own."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import uuid
import zlib
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


def is_unfinished(path: Path, of: Path) -> bool:
    """Whether this is where a file or folder is, or was until a crash, while it is written; with any mark."""
    return path.parent == of.parent and path.name.startswith(f".{of.name}.") and path.name.endswith(UNFINISHED)


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """An empty folder beside a path for what is to be there; it is gone when the block ends, unless it was renamed.

    Nobody else writes into it, though others may be writing the same at the same time. One that a crash has left on
    this machine goes, where locks tell that nobody is in it.

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
    machine = f"{zlib.crc32(platform.node().encode()):08x}"  # others' locks are not seen on NFS and Lustre
    count = 0
    while flock.fcntl is not None:
        folder = unfinished_of(path, f".{machine}.{count}")
        _make(folder)
        with ExitStack() as stack:
            try:
                held = os.open(folder, os.O_RDONLY | _FOLDER_ALONE)
                stack.callback(os.close, held)
                if flock.lock(held) is not None:
                    with suppress(OSError):
                        folder.rmdir()
                    break
                if not _is(folder, held):
                    continue
                if not os.listdir(held) and os.access(folder, os.W_OK | os.X_OK):
                    stack.pop_all()
                    return folder, held
                remove(folder)  # what a crash has left
            except FileNotFoundError:  # it was another's, who has finished
                continue
            except (BlockingIOError, NotADirectoryError, PermissionError):  # it is in use, or another user's
                count += 1
    folder = unfinished_of(path, f".{uuid.uuid4().hex}")
    folder.mkdir()
    return folder, None


def _make(folder: Path) -> None:
    """Make a folder if it is not there. A file or link of its name goes, but no folder, which others may have made."""
    with suppress(FileNotFoundError, IsADirectoryError, PermissionError):  # it is a folder, or gone, by now
        if not stat.S_ISDIR(folder.lstat().st_mode):
            folder.unlink()
    with suppress(FileExistsError):
        folder.mkdir()


def _is(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    except OSError:
        return False
