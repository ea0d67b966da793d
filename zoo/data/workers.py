"""Data workers: processes that read ahead. What becomes of them is told, and nothing waits for them for ever."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from zoo.data.packed import Packed, Told, unread
from zoo.data.shared_memory import SHARED_MEMORY
from zoo.data.worker_fates import how_ended, which_is_stuck
from zoo.data.worker_signals import heed_the_rank_alone, sigterm_blocked
from zoo.errors import DataError, in_words
from zoo.open_files import are_too_many, refuse_few

POLL = 1.0
"""Seconds after which one who waits for samples looks whether to wait on."""

PATIENCE = 5.0
"""Seconds in which a worker that has broken off its connections ends."""

TIMED_OUT = "DataLoader timed out after"
"""How PyTorch says that nothing has come within ``POLL``."""


class Workers:
    """Processes that read a dataset ahead, in order.

    Args:
        dataset: what they read.
        keys: what to read of it.
        count: number of processes; 0 reads in this one.
        pin_memory: put what is read in page-locked memory, for GPUs.
    """

    def __init__(self, dataset: Dataset[Any], keys: Iterable[Any], count: int, *, pin_memory: bool) -> None:
        if count:
            refuse_few("data workers", DataError)
        with warnings.catch_warnings():  # of more workers than processors, twice; `concerns` tells it once
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            loader = DataLoader(
                Told(dataset),
                sampler=keys,
                batch_size=None,
                num_workers=count,
                pin_memory=pin_memory,
                timeout=POLL if count else 0,
                worker_init_fn=partial(heed_the_rank_alone, os.getpid()) if count else None,
                generator=torch.Generator(),  # or it would draw from the one whose state training saves and restores
            )
            self._pieces: Any = _started(loader)
        self._processes: list[BaseProcess] = getattr(self._pieces, "_workers", [])  # there is no public way to them
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        self._closing = False
        self._trusted = True
        # A worker hands over shared memory by a connection, at which one who asks a stopped process waits for ever.
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        if count:
            self._thread.start()

    def next(self, limit: float | None, stop: Callable[[], bool]) -> Any:
        """What has been read next; None if ``stop`` has said so while it was waited for.

        Args:
            limit: seconds to wait for it.
            stop: whether to wait no longer.

        Raises:
            DataError: it cannot be read, a worker has ended, or nothing comes.
        """
        found = self._from_workers(limit, stop) if self._processes else next(self._pieces)
        if isinstance(found, DataError):
            raise found
        return found

    def close(self) -> None:
        """End them, also those that do not answer."""
        self._closing = True
        if not self._trusted:
            for process in self._processes:
                process.kill()
        if self._processes:
            self._wanted.put(False)
            self._thread.join(PATIENCE)
            self._pieces._shutdown_workers()
        for process in self._processes:
            if process.is_alive():
                process.kill()  # or Python would wait for it when this process ends
                process.join()

    def _from_workers(self, limit: float | None, stop: Callable[[], bool]) -> Any:
        self._wanted.put(True)
        since = time.monotonic()
        self._trusted = False
        while True:
            with suppress(queue.Empty):
                found, error = self._arrived.get(timeout=POLL)
                if error is not None:
                    raise DataError(self._reason(error)) from error
                self._trusted = True
                return found
            if stop():
                return None
            if any(process.exitcode for process in self._processes):
                raise DataError(how_ended(self._processes))
            waited = time.monotonic() - since
            if limit is not None and waited > limit:
                due = self._pieces._task_info.get(self._pieces._rcvd_idx, (0,))[0]
                raise DataError(which_is_stuck(self._processes, due, waited))

    def _fetch(self) -> None:
        """Get one piece whenever one is wanted; in a thread of its own."""
        while self._wanted.get():
            while not self._closing:
                try:
                    found = next(self._pieces)
                    self._arrived.put((found.open() if isinstance(found, Packed) else found, None))
                except Exception as error:
                    if str(error).startswith(TIMED_OUT):
                        continue
                    self._arrived.put((None, error))
                break

    def _reason(self, error: Exception) -> str:
        """What has gone wrong on the way from a worker, which may be that it has ended."""
        broken_off = isinstance(error, EOFError | OSError) and not are_too_many(error)
        if wait([process.sentinel for process in self._processes], PATIENCE if broken_off else 0):
            return how_ended(self._processes)
        if broken_off:
            return (
                f"a data worker does not hand over what it has read ({in_words(error)}); if it has too many open files,"
                " raise their number by `ulimit -n`, or set data.workers lower"
            )
        return unread(error)


def _started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Its iterator, without PyTorch's handler of SIGCHLD.

    That one raises an error when a worker dies, wherever the main thread is just then. Without it, the one who waits
    for the worker's samples finds out, seconds later.
    """
    number = getattr(signal, "SIGCHLD", None)  # not on Windows
    before = None if number is None else signal.getsignal(number)
    if getattr(before, "__module__", None) == signal_handling.__name__:  # set by somebody else's loader
        before = signal.SIG_DFL
    try:
        with sigterm_blocked():  # for workers from their birth: PyTorch makes them threads before our code runs
            iterator = iter(loader)
    except OSError as error:
        raise DataError(
            f"data workers cannot be started: {error.strerror}; set data.workers lower, or raise the limit of open"
            f" files (ulimit -n) or of processes (ulimit -u), or the size of {SHARED_MEMORY}"
        ) from error
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, before)  # type: ignore[arg-type]
    return iterator
