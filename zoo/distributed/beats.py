"""Signs of life that the processes of a job leave for each other in the store in which they have met."""

from __future__ import annotations

import json
import os
import platform
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

FEW = 64
"""Processes up to which each looks at all others every second; more of them look more seldom."""


@dataclass(frozen=True)
class Beat:
    """A sign of life of a process.

    Attributes:
        count: signs that it has given.
        meetings: exchanges with the others that it has come to.
        kind: of the last one.
        ends: whether it is about to end the job.
        code: the exit code with which the job ends, once that is known.
        machine: where it runs.
        pid: its number there.
        born: when it was started, by the machine's own count; None where the system does not say.
    """

    count: int = 0
    meetings: int = 0
    kind: str = ""
    ends: bool = False
    code: int | None = None
    machine: str = ""
    pid: int = 0
    born: str | None = None

    def kill(self) -> bool:
        """Kill the process if it runs on this machine; whether it could be."""
        if self.machine != platform.node() or self.born is None or self.born != _born(self.pid):
            return False
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended by itself
            return False
        return True


def interval(size: int, timeout: float) -> float:
    """Seconds between two signs of each of ``size`` processes, by which a silence of ``timeout`` is to be seen."""
    return min(max(1.0, size / FEW), timeout / 5)


class Beats:
    """Gives this process's signs of life, and looks for those of the others, in a thread of its own.

    A thread, since the store may be in a process that has been stopped: then nobody comes back from it.

    Args:
        store: in which the processes have met.
        rank: this process.
        size: how many there are.
        pause: seconds between two signs.
        met: tells how many exchanges this process has come to, and the kind of the last one.
    """

    def __init__(self, store: Any, rank: int, size: int, pause: float, met: Callable[[], tuple[int, str]]) -> None:
        self.pause = pause
        self.seen = [Beat() for _ in range(size)]
        self.rounds = 0
        self._ends = False
        self._code: int | None = None
        self._store, self._rank, self._met = store.clone(), rank, met  # a connection of its own
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="zoo beats", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def announce(self, code: int | None = None) -> None:
        """Let the others know that the job ends, and with which exit code; returns when they have had time to hear."""
        self._ends, self._code = True, code
        time.sleep(3 * self.pause)

    def stop(self) -> None:
        """Give no more signs, which others take for an end."""
        self._over.set()
        self._thread.join(2 * self.pause)  # no longer: the store may have gone

    def _beat(self) -> None:
        keys = [f"zoo beat {rank}" for rank in range(len(self.seen))]
        own = Beat(machine=platform.node(), pid=os.getpid(), born=_born(os.getpid()))
        while True:
            meetings, kind = self._met()
            beat = replace(own, count=self.rounds + 1, meetings=meetings, kind=kind, ends=self._ends, code=self._code)
            try:
                self._store.set(keys[self._rank], json.dumps(asdict(beat)))
                there = [rank for rank, key in enumerate(keys) if self.seen[rank].count or self._store.check([key])]
                values = self._store.multi_get([keys[rank] for rank in there])
            except RuntimeError:  # the store's own process has ended, which this one hears of where it needs the others
                return
            for rank, value in zip(there, values, strict=True):
                self.seen[rank] = Beat(**json.loads(value))
            self.rounds += 1
            if self._over.wait(self.pause):
                return


def _born(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
