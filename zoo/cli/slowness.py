"""Tells when training is much slower than it could be."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path

WINDOW = 1.0
"""Seconds that a speed is taken over, at least, so that a single step makes none."""

SHARE = 1 / 3
PATIENCE = 30.0

WAITING = 1 / 2
"""Of the time in which threads want to run; on a machine with a core for each of them it is next to nothing."""

TASKS = Path("/proc/self/task")

SPINS = "1000"
"""How often a thread of GNU's OpenMP, by which PyTorch computes on CPUs, looks whether there is work before it sleeps:
as often as that itself chooses where there are more threads than cores. Its usual 300,000 times keep a core for
milliseconds from the thread that is waited for, where other programs want cores as well."""

POLICY = "OMP_WAIT_POLICY"
"""What says the same in words, by those who know their machine."""


def wait_asleep(environment: MutableMapping[str, str]) -> None:
    """Let threads of PyTorch, if it is not imported yet, leave cores to others while they wait."""
    if POLICY not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPINS)


class SlownessWatch:
    """Says, once in a run, that its threads have waited for a core for half of 30 s, or that its speed has stayed below
    a third of its best for as long.

    On a crowded machine the threads of a process wait for each other at every operator, so that it becomes many times
    slower, and not by its share. One that is crowded from the start on has no best to tell it by.

    Args:
        images: of a step.
        clock: tells the time in seconds.
        times: tells the seconds that the threads have run, and those that they have waited for a core; None where no
            operator waits for several threads.
    """

    def __init__(
        self, images: int, clock: Callable[[], float], times: Callable[[], tuple[float, float]] | None = None
    ) -> None:
        self.images, self.clock, self.times = images, clock, times or (lambda: (0.0, 0.0))
        self._looked, self._before = clock(), self.times()
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
        found = self._decline(speed, now) or self._crowd(now)
        if found is None or self._told:
            return None
        self._told = True
        return (
            f"note: {found}: where other programs want the same processor cores, fewer threads help: stop, and go on"
            " with --resume and OMP_NUM_THREADS=1, or fewer --procs or data.workers"
        )

    def _decline(self, speed: float, now: float) -> str | None:
        if speed >= SHARE * self._best:
            self._best, self._slow_since = max(speed, self._best), None
            return None
        if self._slow_since is None:  # counted from the end of a window, which may hold a checkpoint or pictures
            self._slow_since = now
        if now - self._slow_since < PATIENCE:
            return None
        return f"{speed:.3g} images/s, for {PATIENCE:.0f} s less than a third of this run's best ({self._best:.3g})"

    def _crowd(self, now: float) -> str | None:
        if now - self._looked < PATIENCE:
            return None
        (ran, waited), before = self.times(), self._before
        self._looked, self._before = now, (ran, waited)
        ran, waited = ran - before[0], waited - before[1]
        share = waited / (ran + waited) if waited > 0 else 0.0
        told = f"for {PATIENCE:.0f} s threads have waited for a core {share:.0%} of their time"
        return told if share >= WAITING else None


def times_of_threads() -> tuple[float, float]:
    """The seconds that this process's threads have run, and those that they have waited for a core, if Linux tells."""
    waited = 0
    for task in TASKS.glob("*/schedstat"):
        with suppress(OSError, ValueError, LookupError):  # a thread has ended
            waited += int(task.read_text("ascii").split()[1])
    return time.process_time(), waited / 1e9
