"""Locks on what a process has open, where the system and the file system have any; they end with the process."""

from __future__ import annotations

import errno
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_REFUSED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""By some NFS, Lustre, and others. The last two differ on macOS."""


def lock(descriptor: int) -> str | None:
    """Lock an open file or folder for this process, and those that it forks.

    Returns:
        Why it cannot be locked here; None where it is.

    Raises:
        BlockingIOError: another process has locked it, or this one has by another descriptor.
        OSError: it cannot be.
    """
    if fcntl is None:
        return "this system has no flock"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return f"its file system refuses locks ({error.strerror})"
    return None


def wait(descriptor: int) -> None:
    """Until no other process has it locked."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def unlock(descriptor: int) -> None:
    """Let others lock it, though forks of this process may have it open still."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
