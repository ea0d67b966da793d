"""Data workers: what becomes of them is told in one line, and nothing waits for them for ever."""

import errno
import os
import re
import resource
import signal
import threading
import warnings
from contextlib import closing, contextmanager
from multiprocessing import active_children, get_context

import pytest
import torch
from torch.utils.data._utils import signal_handling
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from tests.data.test_stream import Tiny, read_steps, reader
from zoo.data import workers as module
from zoo.data.stream import Order, stream
from zoo.data.workers import Workers
from zoo.errors import DataError


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Look after silent workers often, and end them soon."""
    monkeypatch.setattr(module, "POLL", 0.05)


@pytest.fixture(autouse=True)
def none_is_left(short_waits):
    """Whatever has become of them, they have ended, and nobody waits for them when this process ends."""
    others = set(active_children())
    yield
    assert set(active_children()) <= others


def fault_of(source, **options):
    with pytest.raises(DataError) as caught:
        read_steps(0, 3, source=source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


class OwnDataError(DataError):
    """A kind of a plug-in's own, that cannot be sent from a worker: it takes two arguments."""

    def __init__(self, file, reason):
        super().__init__(f"{file}: {reason}")


def own_fault():
    raise OwnDataError("x.bin", "is broken")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_arrives_as_one_line(workers):
    assert fault_of(Tiny(fault=own_fault), workers=workers) == (
        "x.bin: is broken; leave it out: --set 'data.leave_out=[\"tiny 7\"]'"
    )


FAULT = "(a fault of the dataset's code; --debug shows where)"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("caption"), f"data cannot be read: KeyError: 'caption' {FAULT}"),
        (EOFError("two\nlines"), f"data cannot be read: EOFError: two lines {FAULT}"),
        (MemoryError(), "out of memory where data is read: set data.workers or train.batch lower"),
        (
            OSError(errno.EMFILE, "Too many open files", "x.bin"),
            "too many open files: raise their number by `ulimit -n`, or set data.workers lower",
        ),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_whatever_a_dataset_raises_is_an_error_of_the_data_which_saves(workers, error, told):
    def fault():
        raise error

    with pytest.raises(DataError) as caught:
        read_steps(0, 3, source=Tiny(fault=fault), workers=workers)
    assert str(caught.value) == told
    assert any("in fault" in note for note in caught.value.__notes__), "the traceback, for --debug"


@pytest.mark.parametrize("code", [9, 0])
def test_a_worker_that_ends_is_named(code):
    message = fault_of(Tiny(fault=lambda: os._exit(code)), workers=1)
    assert message.startswith("data worker 0 (process ")
    assert message.endswith(f") ended with exit code {code}")


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (signal.SIGKILL, "; if it was for lack of memory, as `dmesg` would tell, set data.workers lower"),
        (signal.SIGBUS, "; /dev/shm, by which workers hand over samples, is full: set data.workers lower, or make it"
                        " larger (docker run --shm-size)"),
        (signal.SIGSEGV, ""),
    ],
)  # fmt: skip
def test_a_worker_that_is_killed_is_named(number, hint):
    def killed():
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)

    message = fault_of(Tiny(fault=killed), workers=1)
    assert message.endswith(f") was killed by {number.name}{hint}")


def first_step_before_the_worker_died():
    """Steps of which the first has been read; the worker has died of the one that it read ahead."""
    seed = next(seed for seed in range(99) if 7 in Order(22, 6, seed).indices(1, range(6)))
    assert 7 not in Order(22, 6, seed).indices(0, range(6))
    others = set(active_children())
    first_is_read = get_context("fork").Event()

    def fault():
        first_is_read.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    steps = stream(reader(Tiny(fault=fault), batch=6, seed=seed), 0, 9, workers=1)
    next(steps)
    first_is_read.set()
    for worker in set(active_children()) - others:
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    return steps


@pytest.fixture
def without_handler(monkeypatch):
    """As if this were the process's first DataLoader: PyTorch sets its handler of SIGCHLD once."""
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGCHLD, before)


def test_a_worker_that_is_killed_is_noticed_only_where_its_samples_are_wanted(without_handler):
    steps = first_step_before_the_worker_died()  # nothing is raised in the midst of what is done with the first
    with pytest.raises(DataError, match="was killed by SIGKILL"):
        next(steps)


def test_nor_does_it_matter_who_has_loaded_data_before(without_handler):
    """PyTorch's handler stands from the first loader of a process on."""
    signal_handling._set_SIGCHLD_handler()
    assert "was killed" in fault_of(Tiny(fault=lambda: os.kill(os.getpid(), signal.SIGKILL)), workers=1)
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL


def test_with_the_handler_of_pytorch_it_would_be_noticed_anywhere(without_handler, monkeypatch):
    monkeypatch.setattr(module, "_started", iter)
    with pytest.raises(RuntimeError, match="is killed by signal: Killed"):
        first_step_before_the_worker_died()


@pytest.mark.parametrize("fault", [signal.pause, lambda: os.kill(os.getpid(), signal.SIGSTOP)], ids=["busy", "stopped"])
def test_a_worker_that_gives_nothing_is_an_error_in_time(fault):
    with pytest.raises(DataError) as caught:
        list(stream(reader(Tiny(fault=fault)), 0, 9, workers=2, limit=0.3))
    message = str(caught.value)
    assert message.startswith("data worker ")
    assert " has given nothing for N s and is " in re.sub(r"\d+ s ", "N s ", message)
    assert message.endswith("; if it only needs longer, set train.timeout higher")


@contextmanager
def workers_of(source, count):
    """Workers that read a thousand steps, and are ended."""
    with closing(Workers(reader(source), [(step, 0) for step in range(1000)], count, pin_memory=False)) as pieces:
        yield pieces


def read_on(pieces, limit=None, until=lambda: False):
    while pieces.next(limit, until) is not None:
        pass


def test_of_several_the_one_that_is_stopped_is_named():
    """Also where it is another's samples that are due."""
    stopped = get_context("fork").Value("i", 0)

    def fault():
        with stopped.get_lock():
            stopped.value = first = stopped.value or os.getpid()
        if first == os.getpid():
            os.kill(os.getpid(), signal.SIGSTOP)

    def is_stopped():
        options = os.WSTOPPED | os.WNOWAIT | os.WNOHANG
        return bool(stopped.value) and os.waitid(os.P_PID, stopped.value, options) is not None

    with workers_of(Tiny(fault=fault), 3) as pieces:
        read_on(pieces, until=is_stopped)
        with pytest.raises(DataError, match="is stopped by a signal") as caught:
            read_on(pieces, 0.3)
    assert f"(process {stopped.value})" in str(caught.value)


def test_a_stop_ends_the_wait_for_a_worker():
    asked = threading.Event()
    waiting = get_context("fork").Event()

    def fault():
        waiting.set()
        os.kill(os.getpid(), signal.SIGSTOP)

    def ask():
        waiting.wait()
        asked.set()

    threading.Thread(target=ask).start()
    steps = list(stream(reader(Tiny(fault=fault)), 0, 9, workers=1, stop=asked.is_set))
    assert len(steps) < 9


def test_a_stop_while_samples_come_is_not_heeded_here(monkeypatch):
    """What has been read is trained on: the loop that is asked ends after its step."""
    monkeypatch.setattr(module, "POLL", 60.0)
    assert len(list(stream(reader(), 0, 5, workers=1, stop=lambda: True))) == 5


def test_a_worker_that_is_stopped_while_others_are_waited_for_is_left_behind():
    """It does not hand over what it has read, for which PyTorch asks it, and waits."""
    others = set(active_children())
    with workers_of(Tiny(), 2) as pieces:
        pieces.next(None, lambda: False)
        for worker in set(active_children()) - others:
            os.kill(worker.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
        with pytest.raises(DataError, match="is stopped by a signal"):
            read_on(pieces, 0.3)


def ask_to_end():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("threads", [0, 3])
def test_workers_read_on_when_the_whole_group_is_asked_to_end(threads, monkeypatch):
    """Also where PyTorch starts threads in them, which it does before any code of ours runs."""

    def start_threads(count):
        for _ in range(threads):
            threading.Thread(target=threading.Event().wait, daemon=True).start()

    monkeypatch.setattr(torch, "set_num_threads", start_threads)  # the first that a worker does
    steps = read_steps(0, 5, source=Tiny(fault=ask_to_end), workers=1)
    assert len(steps) == 5
    assert any(7 in batch.indices for batch in steps)


CONNECTION_ERRORS = [EOFError(), ConnectionResetError(104, "Connection reset by peer"), OSError("handle is invalid")]


def broken_off(monkeypatch, error, ready):
    """Let what workers hand over arrive as an error, once ``ready(workers)`` is done."""

    def get(self, timeout=0):
        ready(self._workers)
        raise error

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_try_get_data", get)


@pytest.mark.parametrize("error", CONNECTION_ERRORS, ids=lambda error: type(error).__name__)
def test_a_worker_that_dies_while_it_hands_something_over_has_died(error, monkeypatch, without_handler):
    died = []

    def ready(workers):
        died.append(workers[1].pid)
        workers[1].kill()

    broken_off(monkeypatch, error, ready)
    assert fault_of(Tiny(), workers=2).startswith(f"data worker 1 (process {died[0]}) was killed by SIGKILL; ")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("handle lost"), "a data worker does not hand over what it has read (OSError: handle lost)"),
        (EOFError(), "a data worker does not hand over what it has read (EOFError); if it has too many open files, "),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files: raise their number by `ulimit -n`"),
        (RuntimeError("received 0 items of ancdata"), "too many open files: raise their number by `ulimit -n`"),
    ],
)
def test_what_fails_in_this_process_is_told_too(error, told, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    broken_off(monkeypatch, error, lambda workers: None)
    assert told in fault_of(Tiny(), workers=2)


def test_a_lack_of_shared_memory_is_told_by_the_worker(monkeypatch):
    """In PyTorch's way a thread of the worker says so on stderr, and the samples never come."""

    def full(self, content):
        raise RuntimeError("unable to write to file </torch_12_3_0>: No space left on device (28)")

    monkeypatch.setattr(module.Packed, "__init__", full)
    told = "/dev/shm, by which workers hand over samples, is full: set data.workers lower, or make it larger"
    assert fault_of(Tiny(), workers=1) == f"{told} (docker run --shm-size)"


def test_too_few_open_files_are_told_by_the_worker():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))

    seed = next(seed for seed in range(99) if 7 in Order(22, 12, seed).indices(0, range(12)))
    told = "too many open files: raise their number by `ulimit -n`, or set data.workers lower"
    assert fault_of(Tiny(fault=few), seed=seed, workers=1) == told


def test_workers_that_would_have_too_few_open_files_are_not_started(monkeypatch):
    """Threads of theirs would print tracebacks without end."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (20, 1024))
    told = "data workers need at least 64 open files, and may have 20: raise that by `ulimit -n 64`"
    assert fault_of(Tiny(), workers=1) == told
    read_steps(0, 1, source=Tiny(), workers=0)


def test_workers_that_cannot_be_started_are_an_error_of_the_data(monkeypatch):
    def refuse(loader):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "iter", refuse, raising=False)
    assert fault_of(Tiny(), workers=1).startswith(
        "data workers cannot be started: Resource temporarily unavailable; set data.workers lower, or raise "
    )


def test_a_worker_that_reads_the_next_steps_is_left_behind_without_a_word(capfd):
    steps = stream(reader(), 0, 1000, workers=2)
    next(steps)
    steps.close()
    assert capfd.readouterr() == ("", "")


def test_pytorch_does_not_warn_of_many_workers_a_second_time():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_steps(0, 1, workers=(os.cpu_count() or 1) + 1)) == 1
