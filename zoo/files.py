"""What zoo writes: whole or not there, whatever happens meanwhile, and never through a link.

A folder that is written to may have been sent by somebody, with links in it. A link in the place of a file is replaced
by the file, or refused where the file is gone on with; what it leads to stays as it is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from zoo.errors import ZooError, first_line, near
from zoo.unfinished import workplace

if TYPE_CHECKING:
    from torch import Tensor


def did_you_mean_file(path: Path, suffixes: Collection[str]) -> str:
    """``; did you mean 'folder/x.yaml'?`` for the file beside a path that is not there whose name is nearest; or
    nothing, as of a path that is there.

    Args:
        path: that cannot be read.
        suffixes: that the other may end in.
    """
    return "" if os.path.exists(path) else meant_of(path, files_beside(path, suffixes))


def files_beside(path: Path, suffixes: Collection[str]) -> list[str]:
    """The names of the files in the folder of a path, of some suffixes, in order; none where it cannot be read."""
    try:
        return sorted(each.name for each in path.parent.iterdir() if each.suffix in suffixes and each.is_file())
    except (OSError, ValueError):  # a ValueError where a zero byte is in the path
        return []


def meant_of(path: Path, names: Iterable[str]) -> str:
    """``; did you mean 'folder/x.yaml'?`` for the nearest of names, whatever they end in, in a path's folder; or
    nothing.
    """
    by_stem = {Path(name).stem: name for name in names}
    found = near(path.stem, by_stem)
    return "" if found is None else f"; did you mean {str(path.with_name(by_stem[found]))!r}?"


class Open(Protocol):
    """A file that is open to be written."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Write at the end."""


Content = str | bytes | Callable[[BinaryIO], object]
"""Of a file: text, which becomes UTF-8, bytes, or what writes them into a file that is open."""

FAILURES = (OSError, RuntimeError)
"""What writing ends with where it cannot be done; RuntimeErrors are torch.save's, and of tensors that no file holds."""

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none, and lets few users make links


def write_whole(path: Path, content: Content, error: type[ZooError], *, synced: bool = True) -> None:
    """Write a file, or put it in the place of another one; readers, and a crash, find the old or the new one, whole.

    Of many that write it at the same time the last one's stays.

    Args:
        path: the file; its folder exists.
        content: what is written.
        error: what to raise.
        synced: whether it survives a power cut as well; waiting for the disk takes some 10 ms.

    Raises:
        ZooError: of type ``error``, if it cannot be written; nothing is left of it.
    """
    try:
        with workplace(path) as folder:
            new = folder / path.name
            write_new(new, content, synced=synced)
            new.replace(path)
            if synced:
                to_disk(path.parent)
    except FAILURES as failure:
        raise error(f"{path}: cannot be written: {reason_of(failure)}") from failure


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill by ``write_new``, which has its name when the block ends, and is gone if that fails."""
    with workplace(path) as unfinished:
        yield unfinished
        to_disk(unfinished)
        unfinished.rename(path)
        to_disk(path.parent)


def write_new(path: Path, content: Content, *, synced: bool = True) -> None:
    """Write a file that is not there yet, and by default bring it to the disk.

    Raises:
        OSError: it is there, if only as a link that leads nowhere; or it cannot be written, as all of ``FAILURES`` say.
    """
    with path.open("xb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)
    if synced:
        to_disk(path)


def safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Callable[[Open], None]:
    """The content of a file of tensors [any shape]."""

    def write(file: Open) -> None:
        from zoo.tensor_bytes import pieces  # torch

        for piece in pieces(tensors, metadata):
            file.write(piece)

    return write


class Hashed:
    """A file to write into, and the SHA-256 of what has been written.

    Args:
        file: that is open.

    Attributes:
        size: bytes that have been written.
    """

    def __init__(self, file: Open) -> None:
        self.size = 0
        self._file, self._hash = file, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> object:
        """Write at the end."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        """In hexadecimal."""
        return self._hash.hexdigest()


def append_line(path: Path, text: str) -> None:
    """Add a line to a file, which is made if it is not there.

    Raises:
        OSError: it is a link, or cannot be written.
    """
    with open_to_append(path) as file:
        file.write(f"{text}\n".encode())


def open_to_append(path: Path) -> BinaryIO:
    """Open a file to read it and to write at its end; it is made if it is not there.

    Raises:
        OSError: it is a link, or cannot be written.
    """
    return open(path, "a+b", opener=lambda name, flags: os.open(name, flags | _NO_LINK, 0o666))


def to_disk(path: Path) -> None:
    """Have a file, or the names in a folder, survive a power cut."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_without_space(folder: Path, size: int) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: to write into; it exists.
        size: of what is written, in bytes.

    Raises:
        OSError: there is less than that.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        text = f"{size / 1e6:,.1f} MB are needed, and the disk has {free / 1e6:,.1f} MB left"
        raise OSError(errno.ENOSPC, text, str(folder))


def reason_of(failure: BaseException) -> str:
    """Why something could not be written, in one line."""
    if isinstance(failure, OSError) and failure.errno == errno.ELOOP:
        return "it is a link, and zoo writes through none; remove it"
    return (isinstance(failure, OSError) and failure.strerror) or first_line(failure)
