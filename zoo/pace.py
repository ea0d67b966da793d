"""How far long work has come: lines of a log, which are few, and how long what is left will take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0


class Pace:
    """Of some work: when a log wants a line, and the time that is left, by the mean speed since its start.

    Args:
        total: pieces of the work.
        done: of these before its start.
        clock: tells the time in seconds.
    """

    def __init__(self, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.clock = total, clock
        self._before = done
        self._begun = self._told = clock()

    def is_due(self, *, at_once: bool = False) -> bool:
        """Whether the last line, or the start, is long ago; the next one is long after this, if so.

        Args:
            at_once: let it be due however long that is.
        """
        now = self.clock()
        if not at_once and now - self._told <= SECONDS_BETWEEN_LINES:
            return False
        self._told = now
        return True

    def left(self, done: int) -> str:
        """``left 0:01:30``, as bars have it; empty at the end, and before there is a speed to tell it by.

        Args:
            done: pieces by now.
        """
        elapsed = self.clock() - self._begun
        if elapsed < SECONDS_BETWEEN_LINES or not self._before < done < self.total:
            return ""
        minutes, seconds = divmod(math.ceil(elapsed / (done - self._before) * (self.total - done)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"left {hours}:{minutes:02}:{seconds:02}"

    def line(self, what: str, done: int) -> str:
        """``drawing: 40 %  left 0:01:30``."""
        return "  ".join(filter(None, (f"{what}: {done * 100 // self.total} %", self.left(done))))
