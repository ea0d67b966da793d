"""What a thread writes while training goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

WRITING = "zoo writing"
"""What the thread is called."""


class Writing:
    """Work of a thread of its own, which begins at once. It exchanges nothing with other processes.

    The thread does not keep the process alive: what it writes is whole or not there.

    Args:
        work: what it does, with what takes a line for the user.

    Attributes:
        said: lines for the user, to be told by who waits.
        error: what the work has failed by, once it has ended.
    """

    def __init__(self, work: Callable[[Callable[[str], None]], object]) -> None:
        self.said: list[str] = []
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._do, name=WRITING, daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to wait for."""
        return not self._thread.is_alive()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by an error."""
        return self.has_ended and self.error is not None

    def wait(self) -> None:
        """Wait for its end, however it ends."""
        self._thread.join()

    def _do(self) -> None:
        try:
            self._work(self.said.append)
        except BaseException as error:  # for who waits
            self.error = error
