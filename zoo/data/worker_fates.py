"""Which data worker has ended or gives nothing, in a line."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from zoo.data.shared_memory import FULL

_STATES = {"T": "is stopped by a signal", "D": "waits for a disk or a network file system"}

_HINTS = {  # by name: not all are on Windows
    "SIGKILL": "; if it was for lack of memory, as `dmesg` would tell, set data.workers lower",
    "SIGBUS": f"; {FULL}",
}


def how_ended(workers: Sequence[BaseProcess]) -> str:
    """Which of them has ended, and how; waits for one to end."""
    gone = wait([each.sentinel for each in workers])
    number, worker = next((n, each) for n, each in enumerate(workers) if each.sentinel in gone)
    worker.join()
    code = worker.exitcode or 0
    name = signal.Signals(-code).name if code < 0 else ""
    how = f"was killed by {name}{_HINTS.get(name, '')}" if name else f"ended with exit code {code}"
    return f"data worker {number} (process {worker.pid}) {how}"


def which_is_stuck(workers: Sequence[BaseProcess], due: int, waited: float) -> str:
    """Which of them gives nothing.

    Args:
        workers: all of them.
        due: number of the one that was to give something.
        waited: seconds.
    """
    states = [_state(each) for each in workers]
    number = next((n for n, state in enumerate(states) if state in _STATES), due)
    doing = _STATES.get(states[number], "is reading")
    return (
        f"data worker {number} (process {workers[number].pid}) has given nothing for {waited:.0f} s and {doing}; if it"
        " only needs longer, set train.timeout higher"
    )


def _state(worker: BaseProcess) -> str:
    """The letter for what a worker does, on Linux."""
    with suppress(OSError):
        return Path(f"/proc/{worker.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return ""
