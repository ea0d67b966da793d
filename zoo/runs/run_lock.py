"""One process at a time in the folder of a run or of samples, for as long as the folder is there."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from zoo import flock
from zoo.errors import RunError
from zoo.files import open_to_append, reason_of

NAME = ".lock"


class RunLock:
    """Keeps other processes from a folder until it is released, or this process ends.

    Args:
        folder: of a run or of samples; it exists.
        doing: what with it, for messages.

    Attributes:
        warning: what to tell where nothing keeps other processes away.

    Raises:
        RunError: one is at it, or there is no right to write into it.
    """

    def __init__(self, folder: Path, doing: str = "training") -> None:
        self.path = folder / NAME
        self.warning: str | None = None
        try:
            self._file = open_to_append(self.path)
            if reason := flock.lock(self._file.fileno()):
                self.warning = f"{folder}: {reason}: see to it that no other process is {doing} in this folder"
            if not self.holds():
                raise RunError(f"{folder}: is being removed or replaced; start again when that is over")
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
            self._file.flush()
        except BlockingIOError as error:
            owner = ""
            with suppress(OSError, UnicodeError):  # who ends just now may have removed it
                owner = self.path.read_text(encoding="utf-8").strip()
            raise RunError(
                f"{folder}: {owner or 'another process'} is {doing} in this folder; wait for it, or stop it"
            ) from error
        except OSError as error:
            raise RunError(f"{self.path}: the folder cannot be locked: {reason_of(error)}") from error

    def holds(self) -> bool:
        """Whether the file that was locked is still the folder's, which may have been removed, moved or made anew."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def release(self) -> None:
        """Let others have the folder."""
        if self.warning is None:
            flock.unlock(self._file.fileno())  # data workers may still hold the file
        self._file.close()

    def remove(self) -> None:
        """Let others have the folder, and leave no lock in it."""
        with suppress(OSError):
            if self.holds():
                self.path.unlink()
        self.release()
