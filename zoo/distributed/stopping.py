"""Signals that ask a command to stop: a run finishes its step, saves, and ends with exit code 75."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType

import torch

from zoo.distributed.distributed import Distributed
from zoo.errors import Preempted
from zoo.signals import handled, ignored, stop_signals

_ENDS = ContextVar("whether the process ends once it has stopped", default=False)


@contextmanager
def asked_to_stop(*, patient: bool) -> Iterator[Callable[[], bool]]:
    """Whether a signal has asked to stop; it no longer ends the process, but a second Ctrl-C does.

    Args:
        patient: not even a second one does, since a launcher passes on what the terminal has sent already.
    """
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            if number == signal.SIGINT and not patient:
                raise KeyboardInterrupt
            return
        asked.set()
        if os.environ.get("RANK", "0") == "0":
            with suppress(OSError):  # nobody reads it
                os.write(2, b"stopping after this step\n")

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    with handled(stop_signals(), handle) as after:
        try:
            yield asked.is_set
        except Preempted:
            if _ENDS.get():
                after.update(dict.fromkeys(after, signal.SIG_IGN))
            raise


def refuse_to_begin(world: Distributed, stop: Callable[[], bool]) -> None:
    """Do not begin what any process has been asked to stop; until all are here, a signal just ends them.

    Raises:
        Preempted: one has been asked.
    """
    if world.sum(torch.tensor([int(stop())])).item():
        raise Preempted("asked to stop before anything was begun or changed; go on with the same command")


@contextmanager
def deaf_once_stopped() -> Iterator[None]:
    """Let no further signal take the exit code from a command that has stopped and saved; the process has to end."""
    token = _ENDS.set(True)
    try:
        yield
    except Preempted:
        ignored(stop_signals())
        raise
    finally:
        _ENDS.reset(token)
