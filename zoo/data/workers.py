"""Data workers: processes that read ahead. What becomes of them is told, and nothing waits for them for ever."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from zoo.errors import DataError, printable
from zoo.signals import ignored, stop_signals

POLL = 1.0
"""Seconds after which one who waits for samples looks whether to wait on."""

PATIENCE = 5.0
"""Seconds in which a worker that has broken off its connections ends."""

CAN_TELL_SENDERS = hasattr(signal, "sigwaitinfo")
"""Not on macOS, where a SIGTERM to all processes ends data workers too."""

TIMED_OUT = "DataLoader timed out after"
"""How PyTorch says that nothing has come within ``POLL``."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


class Packed:
    """What a worker read, pickled by its main thread: another, of Python's queue, would drop what it cannot pickle.

    Tensors are in shared memory by then, so that a lack of it is an error in the worker, which can be told.
    """

    def __init__(self, content: Any) -> None:
        self.pickled = bytes(ForkingPickler.dumps(content))

    def open(self) -> Any:
        """What was read."""
        return ForkingPickler.loads(self.pickled)

    def pin_memory(self) -> Any:
        """The same in page-locked memory; PyTorch calls this."""
        return self.open().pin_memory()


class Told(Dataset[Any]):
    """A dataset whose failures are DataErrors, and returned: PyTorch would wrap them in a traceback."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Any) -> Any:
        """What the dataset holds there, packed on its way from a worker."""
        try:
            found = self.dataset[key]
            return found if get_worker_info() is None else Packed(found)
        except DataError as error:
            return DataError(str(error))  # a plug-in's own kind need not survive the way from a worker
        except Exception as error:
            told = DataError(_in_words(error))
            told.add_note(traceback.format_exc())
            return told


class Workers:
    """Processes that read a dataset ahead, in order.

    Args:
        dataset: what they read.
        keys: what to read of it.
        count: number of processes; 0 reads in this one.
        pin_memory: put what is read in page-locked memory, for GPUs.
    """

    def __init__(self, dataset: Dataset[Any], keys: Iterable[Any], count: int, *, pin_memory: bool) -> None:
        with warnings.catch_warnings():  # of more workers than processors, twice; `concerns` tells it once
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            loader = DataLoader(
                Told(dataset),
                sampler=keys,
                batch_size=None,
                num_workers=count,
                pin_memory=pin_memory,
                timeout=POLL if count else 0,
                worker_init_fn=partial(_heed_the_rank_alone, os.getpid()) if count else None,
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
                raise DataError(self._ended())
            waited = time.monotonic() - since
            if limit is not None and waited > limit:
                raise DataError(self._stuck(waited))

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
        broken_off = isinstance(error, EOFError | OSError) and "Too many open files" not in str(error)
        if wait([process.sentinel for process in self._processes], PATIENCE if broken_off else 0):
            return self._ended()
        if broken_off:
            text = f"{type(error).__name__}: {error}".removesuffix(": ")
            return (
                f"a data worker does not hand over what it has read ({text}); if it has too many open files, raise"
                " their number by `ulimit -n`, or set data.workers lower"
            )
        return _in_words(error)

    def _ended(self) -> str:
        """Which worker has ended, and how."""
        gone = wait([process.sentinel for process in self._processes])
        number, process = next((n, each) for n, each in enumerate(self._processes) if each.sentinel in gone)
        process.join()
        code = process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hints = {
            -signal.SIGKILL: "; if it was for lack of memory, as `dmesg` would tell, set data.workers lower",
            -signal.SIGBUS: f"; {_SHARED_MEMORY_FULL}",
        }
        return f"data worker {number} (process {process.pid}) {how}{hints.get(code, '')}"

    def _stuck(self, waited: float) -> str:
        """Which worker gives nothing."""
        states = [_state(process) for process in self._processes]
        due = self._pieces._task_info.get(self._pieces._rcvd_idx, (0,))[0]
        number = next((n for n, state in enumerate(states) if state in _STATES), due)
        doing = _STATES.get(states[number], "is reading")
        return (
            f"data worker {number} (process {self._processes[number].pid}) has given nothing for {waited:.0f} s"
            f" and {doing}; if it only needs longer, set train.timeout higher"
        )


_STATES = {"T": "is stopped by a signal", "D": "waits for a disk or a network file system"}
_SHARED_MEMORY_FULL = (
    f"{SHARED_MEMORY}, by which workers hand over samples, is full: set data.workers lower, or make it larger (docker"
    " run --shm-size)"
)


def concerns(workers: int, processes: int, batch_bytes: int) -> list[str]:
    """What may go wrong with so many workers on this machine, a line each.

    Args:
        workers: of each process.
        processes: of the job on this machine.
        batch_bytes: of what a worker reads at once.
    """
    found = []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers * processes > cores:
        all_of_them = f"{workers * processes} data workers (data.workers: {workers}, processes: {processes})"
        found.append(f"warning: {all_of_them} on {cores} processor cores slow each other down; set data.workers lower")
    with suppress(OSError, AttributeError):  # not on all systems
        disk = os.statvfs(SHARED_MEMORY)
        free = disk.f_bavail * disk.f_frsize
        # Each worker has PyTorch's two batches ahead, and each process one at hand.
        need = processes * (2 * workers + 1) * batch_bytes if workers else 0
        if need > free:
            found.append(
                f"warning: {SHARED_MEMORY} has {free / 1e6:.1f} MB free, and data workers may fill {need / 1e6:.1f} MB"
                f" (batches of {batch_bytes / 1e6:.1f} MB, data.workers: {workers}, processes: {processes}): training"
                " will stop when it is full; set data.workers lower, or make it larger (docker run --shm-size)"
            )
    return found


def _in_words(error: Exception) -> str:
    """One line for what has failed, and what to do."""
    text = printable(" ".join(str(error).split()))
    if "Too many open files" in text or "received 0 items of ancdata" in text:
        return "too many open files: raise their number by `ulimit -n`, or set data.workers lower"
    if "No space left on device" in text and ("shm" in text or "/torch_" in text):
        return _SHARED_MEMORY_FULL
    if isinstance(error, MemoryError):
        return "out of memory where data is read: set data.workers or train.batch lower"
    return f"data cannot be read: {type(error).__name__}: {text} (a fault of the dataset's code; --debug shows where)"


def _state(process: BaseProcess) -> str:
    """The letter for what a process does, on Linux."""
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return ""


def _started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Its iterator, without PyTorch's handler of SIGCHLD.

    That one raises an error when a worker dies, wherever the main thread is just then. Without it, the one who waits
    for the worker's samples finds out, seconds later.
    """
    number = getattr(signal, "SIGCHLD", None)  # not on Windows
    before = None if number is None else signal.getsignal(number)
    try:
        with _sigterm_blocked():  # for workers from their birth: PyTorch makes them threads before our code runs
            iterator = iter(loader)
    except OSError as error:
        raise DataError(
            f"data workers cannot be started: {error.strerror}; set data.workers lower, or raise the limit of open"
            f" files (ulimit -n) or of processes (ulimit -u), or the size of {SHARED_MEMORY}"
        ) from error
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, before)  # type: ignore[arg-type]
    return iterator


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Have SIGTERM wait, in this thread and in processes that it forks."""
    if not CAN_TELL_SENDERS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heed_the_rank_alone(rank: int, worker: int) -> None:
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
