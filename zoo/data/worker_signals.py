"""Signals and data workers: these heed none but their rank's, and none of theirs is raised in the midst of training."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from zoo.signals import ignored, stop_signals

CAN_TELL_SENDERS = hasattr(signal, "sigwaitinfo")
"""Not on macOS, where a SIGTERM to all processes ends data workers too."""


@contextmanager
def sigterm_blocked() -> Iterator[None]:
    """Have SIGTERM wait, in this thread and in processes that it forks."""
    if not CAN_TELL_SENDERS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_the_rank_alone(rank: int, worker: int) -> None:
    """Let a data worker outlive the signals of schedulers and terminals, which mean the rank.

    A rank that has been asked to stop finishes its step, for which it needs its workers. Only the rank itself, which
    waits for its workers when it ends, may end them by SIGTERM.
    """
    if not CAN_TELL_SENDERS:
        ignored([signal.SIGINT])
        return
    ignored(each for each in stop_signals() if each != signal.SIGTERM)
    threading.Thread(target=_wait_for_the_rank, args=(rank,), daemon=True).start()


def _wait_for_the_rank(rank: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != rank:
        pass
    os._exit(0)
