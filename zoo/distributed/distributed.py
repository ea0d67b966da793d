"""The processes of a job: who they are, and how they agree."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from zoo.devices import named_device, refusing_device
from zoo.distributed.failures import ending_nothing
from zoo.distributed.launcher_variables import RUN_ID, Place, read_place
from zoo.distributed.meeting import meet
from zoo.distributed.watch import Watch
from zoo.errors import (
    DataError,
    FaultError,
    NumericError,
    Preempted,
    RecipeError,
    RunError,
    SampleError,
    WeightsError,
    ZooError,
    first_line,
)

T = TypeVar("T")

TIMEOUT = 600.0
"""Seconds to wait for a process that no longer answers, unless the recipe says otherwise."""

PATIENCE = timedelta(days=1)
MARGIN = timedelta(minutes=1)
"""After which NCCL ends a process that nobody else has ended."""

PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Distributed:
    """A process among those of its job.

    Attributes:
        rank: its number, 0 = the one that writes.
        size: number of processes.
        device: where it computes.
        control: the group in which processes agree, on the CPU; None for a process alone.
        watch: ends this process where another no longer answers; None for a process alone.
    """

    rank: int
    size: int
    device: torch.device
    control: dist.ProcessGroup | None = None
    watch: Watch | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def meeting(self, kind: str) -> AbstractContextManager[None]:
        """While this process exchanges something with all others, which come to an exchange of the same kind."""
        return nullcontext() if self.watch is None else self.watch.meeting(kind)

    def busy(self) -> AbstractContextManager[None]:
        """While this process does what must not be cut short; it exchanges nothing."""
        return nullcontext() if self.watch is None else self.watch.busy()

    def working(self, step: Callable[[], int], rescue: Callable[[], str]) -> AbstractContextManager[None]:
        """While the processes train: ``step`` tells updates done, ``rescue`` saves without the other processes."""
        return nullcontext() if self.watch is None else self.watch.working(step, rescue)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a CPU tensor over all processes; waits for all of them."""
        if self.size > 1:
            with self.meeting("sum"):
                dist.all_reduce(values, group=self.control)
        return values

    def hold(self, flag: Tensor) -> Tensor:
        """Whether a flag [] of this process's device holds on all processes.

        All of them call it, at the same place among their exchanges of gradients. A GPU is asked, and not waited for;
        what it is asked for later waits until all have called.
        """
        if self.size > 1:
            flag = flag.int()
            with self.meeting("gradients"):
                dist.all_reduce(flag, dist.ReduceOp.MIN)
        return flag.bool()

    def gather(self, value: Tensor) -> list[Tensor]:
        """The CPU tensors of all processes, by rank; all of one shape."""
        if self.size == 1:
            return [value]
        values = [torch.empty_like(value) for _ in range(self.size)]
        with self.meeting("gather"):
            dist.all_gather(values, value, group=self.control)
        return values

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Have tensors hold on all processes what they hold on the main one.

        Args:
            tensors: contiguous, of any shape, on this process's device; of the same shapes and types on all processes.
        """
        if self.size == 1:
            return
        with self.meeting("share"):
            for each in tensors:
                if each.numel():
                    dist.broadcast(each.detach().view(-1).view(torch.uint8), 0)  # whatever the type

    def collect(self, value: T) -> list[T]:
        """The plain values of all processes by rank, on the main one; nothing on the others."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_main else None
        with self.meeting("collect"):
            dist.gather_object(value, values, dst=0, group=self.control)
        return values or []

    def agree(self, error: Exception | None) -> None:
        """Raise, on every process, the error of the first process that has one.

        Raises:
            ZooError: of the same kind and message everywhere.
            FaultError: another process has failed otherwise.
            Exception: this one has.
        """
        if self.size > 1 and self.sum(torch.tensor([error is not None], dtype=torch.int64)).item():
            told: list[Any] = [None] * self.size
            with self.meeting("errors"):
                dist.all_gather_object(told, error and self._in_words(error), group=self.control)
            if error is None or isinstance(error, ZooError):
                error = _from_words(next(each for each in told if each))
        if error is not None:
            raise error

    @contextmanager
    def together(self, where: object = "a file of the run") -> Iterator[None]:
        """Do something on every process; what fails on one of them is raised on all.

        Args:
            where: the file or folder to name, if one cannot be written and the system does not say which.

        Raises:
            ZooError: of the same kind and message everywhere.
            RunError: a file could not be written or read, on any process.
            FaultError: another process has failed otherwise.
            Exception: this one has.
        """
        error: Exception | None = None
        try:
            with ending_nothing():  # or the others would wait
                yield
        except OSError as caught:
            error = _of_file(caught, where)
        except Exception as caught:
            error = caught
        self.agree(error)

    def first(self, work: Callable[[], T]) -> T:
        """Let the main process do ``work`` while the others wait; what fails there is raised on all of them.

        Returns:
            What ``work`` returned, on all processes; it must be a plain value.

        Raises:
            ZooError: as ``work`` raised it.
            RunError: a file could not be written or read.
            Exception: ``work`` failed otherwise, on the main process; a FaultError on the others.
        """
        result: T | None = None
        error: Exception | None = None
        with self.meeting("first"):  # to which the main process has come when it begins to work
            if self.is_main:
                try:
                    with ending_nothing(), self.busy():
                        result = work()
                except OSError as caught:
                    error = _of_file(caught, "a file of the run")
                except Exception as caught:
                    error = caught
            if self.size > 1:
                told: list[Any] = [result, error and self._in_words(error)]
                dist.broadcast_object_list(told, src=0, group=self.control, device=torch.device("cpu"))
                if not self.is_main:
                    result, error = told[0], told[1] and _from_words(told[1])
        if error is not None:
            raise error
        return cast(T, result)

    def _in_words(self, error: Exception) -> tuple[str, int, str]:
        """What other processes are told of an error of this one."""
        if isinstance(error, ZooError):
            return type(error).__name__, error.exit_code, str(error)
        fault = f"process {self.rank} has failed: {type(error).__name__}: {first_line(error)}"
        return FaultError.__name__, FaultError.exit_code, fault


def _of_file(error: OSError, where: object) -> RunError:
    return RunError(f"{error.filename or where}: cannot be written or read: {error.strerror or error}")


def _from_words(words: tuple[str, int, str]) -> ZooError:
    """An error of the same exit code and message; a kind of a plug-in's own becomes the nearest of zoo's."""
    name, exit_code, text = words
    if name == RecipeError.__name__:
        return RecipeError(text.splitlines())
    kinds = {
        each.__name__: each
        for each in (ZooError, FaultError, DataError, SampleError, RunError, WeightsError, NumericError, Preempted)
    }
    by_code = {each.exit_code: each for each in reversed(kinds.values())}
    kind = kinds.get(name, by_code.get(exit_code, ZooError))
    first, *others = text.split("\n")
    if kind is WeightsError and others:
        return WeightsError(first.removesuffix(":"), [other.removeprefix("  ") for other in others])
    return kind(first, *others)


@contextmanager
def join_processes(
    device: str | None = None, *, group: bool = False, timeout: float = TIMEOUT
) -> Iterator[Distributed]:
    """Join the job that torchrun or ``zoo train --procs`` started this process for, or be one process alone.

    Args:
        device: where to compute; this process's GPU, or the CPU where there is none, if left out.
        group: make a process group for a single process too, which FSDP needs.
        timeout: seconds to wait for another process that no longer answers.

    Raises:
        ZooError: there is no such device.
        LauncherError: the launcher's variables do not say which process this is, or the others do not come.
    """
    place = read_place()
    rank, size = place.rank, place.size
    if RUN_ID in os.environ and sys.platform == "linux":  # or it would train on where the launcher has been killed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    where = _device(device, place)
    if size == 1 and not group:
        yield Distributed(rank, size, where)
        return
    backend = f"cpu:gloo,{where.type}:{'nccl' if where.type == 'cuda' else 'gloo'}" if where.type != "cpu" else "gloo"
    store = meet(place)
    store_host = None if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else 0  # None: the launcher's process
    watch = Watch(store, rank, size, timeout, store_host) if size > 1 else None
    with nullcontext() if watch is None else watch.watching(), _group(backend, store, rank, size, timeout) as control:
        yield Distributed(rank, size, where, control, watch)


def refuse_several(world: Distributed, command: str) -> None:
    """Refuse what one process alone can do.

    Raises:
        ZooError: there are several.
    """
    if world.size > 1:
        raise ZooError(f"zoo {command}: runs in one process; start it without torchrun")


def patience(timeout: float, *, nccl: bool) -> timedelta:
    """After which an exchange ends a process, where the watch ends waiting after so many seconds."""
    return timedelta(seconds=timeout) + MARGIN if nccl else PATIENCE


@contextmanager
def _group(backend: str, store: Any, rank: int, size: int, timeout: float) -> Iterator[dist.ProcessGroup]:
    """PyTorch's process group, and a group in which the processes agree, on the CPU.

    gloo waits long: others may wait while the main process writes or draws, and the watch ends waiting for who no
    longer answers. NCCL counts by itself, and comes second.
    """
    dist.init_process_group(
        backend,
        store=store,
        rank=rank,
        world_size=size,
        timeout=patience(timeout, nccl="nccl" in backend),
    )
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield control
    except Preempted:
        _leave()
        raise
    _leave()


def _leave() -> None:
    """End the process group, where no process has failed.

    A barrier comes first: gloo's threads may still hold tensors of the last exchange, for which they need the
    interpreter's lock, and would wait for it for ever while this thread holds it and waits for them.
    """
    dist.barrier()
    dist.destroy_process_group()


def _device(name: str | None, place: Place) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    with refusing_device(name):
        device = named_device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError("zoo computes on cpu, cuda or mps")
        if device.index is not None and place.size > 1:
            raise RuntimeError("every process takes a device of its own; leave the number out")
        if device.type == "cuda":
            device = torch.device("cuda", place.local if device.index is None else device.index)
            torch.cuda.set_device(device)
        torch.empty(0, device=device)
    return device
