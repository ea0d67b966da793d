"""What commands print, where nobody reads it any more."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from zoo.errors import OutputError

NO_READER = (errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN)


class Unread(io.RawIOBase):
    """A stream that drops what nobody reads: the work of a command is worth more than its words.

    Args:
        raw: the stream below it.
        only: numbers of errors that mean that nobody reads; any, if left out.
    """

    def __init__(self, raw: io.RawIOBase, only: Container[int] | None = None) -> None:
        self.raw, self.only = raw, only

    def write(self, data: Any) -> int:
        """Write, or drop.

        Raises:
            OutputError: there is a reader, and it would lack what cannot be written.
        """
        try:
            while (written := self.raw.write(data)) is None:  # another program has made it non-blocking, and it is full
                select.select([], [self.raw], [])
        except OSError as error:
            if self.only is not None and error.errno not in self.only:
                self.only = None  # it is said, and the rest would be of no use
                raise OutputError(f"the output cannot be written: {error.strerror}") from error
            written = len(data)
        return written

    def writable(self) -> bool:
        """True."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.raw.isatty()

    def fileno(self) -> int:
        """The number of the file below."""
        return self.raw.fileno()


class _Written(io.BufferedWriter):
    """What a plug-in that wraps it anew would close when its own wrapper goes."""

    def close(self) -> None:
        """Write what it holds."""
        self.flush()


class _StaysOpen(io.TextIOWrapper):
    """A stream that a plug-in cannot close: it is zoo's."""

    def close(self) -> None:
        """Write what it holds."""
        self.flush()


@contextmanager
def unread_output_dropped() -> Iterator[tuple[Any, Any]]:
    """Let a command go on when what it prints cannot be, such as in a pipe whose reader has ended.

    On stderr that is all that fails, also on a log file's full disk. On stdout there may be what was asked for: only
    where its reader has gone is it dropped, and the command ends as if all had been read, like ripgrep, so that
    ``zoo build --flops | head -1`` succeeds in scripts that heed every part of a pipe. Gives stdout and stderr as they
    are to be until then.

    Raises:
        OutputError: stdout cannot be written to.
    """
    for number in (0, 1, 2):  # a closed one would be taken by the next file that is opened, and printed into
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    own = sys.stdout, sys.stderr = _guarded(sys.stdout, NO_READER), _guarded(sys.stderr, None)
    try:
        yield own
    finally:
        with suppress(ValueError):  # a plug-in has detached it
            own[1].flush()
        sys.stdout, sys.stderr = before


def _guarded(stream: Any, only: Container[int] | None) -> Any:
    """A stream that writes to the same file; itself where it has none, as in tests."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # without a buffer under PYTHONUNBUFFERED
    if not isinstance(raw, io.RawIOBase) or not hasattr(raw, "fileno"):
        return stream
    stream.flush()
    return _StaysOpen(
        _Written(Unread(raw, only)),
        stream.encoding,
        errors="replace",  # a terminal that cannot show a sign shows a question mark
        line_buffering=stream.line_buffering or stream.write_through,  # unbuffered, it has no buffer that would wait
        write_through=stream.write_through,
    )
