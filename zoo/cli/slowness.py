"""Tells when training has become much slower than it was."""

from __future__ import annotations

from collections.abc import Callable

WINDOW = 1.0
"""Seconds that a speed is taken over, at least, so that a single step makes none."""

SHARE = 1 / 3
PATIENCE = 30.0


class SlownessWatch:
    """Says, once in a run, that its speed has stayed below a third of its best for 30 s.

    On a crowded machine the threads of a process wait for each other at every operator, so that it becomes many times
    slower, and not by its share.

    Args:
        images: of a step.
        clock: tells the time in seconds.
    """

    def __init__(self, images: int, clock: Callable[[], float]) -> None:
        self.images, self.clock = images, clock
        self._begun, self._steps = clock(), 0
        self._best = 0.0
        self._slow_since: float | None = None
        self._told = False

    def step(self) -> str | None:
        """A step has been done; returns what to tell of it, if anything."""
        self._steps += 1
        now = self.clock()
        if now - self._begun < WINDOW:
            return None
        speed = self._steps * self.images / (now - self._begun)
        self._begun, self._steps = now, 0
        if speed >= SHARE * self._best:
            self._best, self._slow_since = max(speed, self._best), None
            return None
        if self._slow_since is None:  # counted from the end of a window, which may hold a checkpoint or pictures
            self._slow_since = now
        if self._told or now - self._slow_since < PATIENCE:
            return None
        self._told = True
        return (
            f"note: {speed:.3g} images/s, for {PATIENCE:.0f} s less than a third of this run's best ({self._best:.3g}):"
            " where other programs want the same processor cores, fewer threads help: stop, and go on with --resume and"
            " OMP_NUM_THREADS=1, or fewer --procs or data.workers"
        )
