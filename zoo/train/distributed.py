"""The processes of a job: who they are, and how they agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from zoo.errors import Preempted, RunError, ZooError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """A process among those of its job.

    Attributes:
        rank: its number, 0 = the one that writes.
        size: number of processes.
        device: where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a CPU tensor over all processes; waits for all of them."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Tensor) -> list[Tensor]:
        """The CPU tensors of all processes, by rank; all of one shape."""
        if self.size == 1:
            return [value]
        values = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(values, value)
        return values

    def agree(self, error: ZooError | None) -> None:
        """Raise, on every process, the error of the first process that has one.

        Raises:
            ZooError: of the same kind and message everywhere.
        """
        if self.size == 1:
            if error is not None:
                raise error
            return
        failed = torch.tensor([0 if each is None else 1 for each in [error]])
        if not self.sum(failed).item():
            return
        told: list[Any] = [None] * self.size
        dist.all_gather_object(told, None if error is None else (type(error), str(error)))
        kind, message = next(each for each in told if each)
        raise kind(message) if error is None else error

    def first(self, work: Callable[[], T]) -> T | None:
        """Let the main process do ``work`` while the others wait; what fails there is raised on all of them.

        Returns:
            What ``work`` returned on the main process, None on the others.

        Raises:
            ZooError: as ``work`` raised it.
            RunError: a file could not be written or read.
        """
        result: T | None = None
        error: ZooError | None = None
        if self.is_main:
            try:
                result = work()
            except ZooError as caught:
                error = caught
            except OSError as caught:
                error = RunError(f"{caught.filename or 'a file of the run'}: {caught.strerror or caught}")
        self.agree(error)
        return result


@contextmanager
def join_world(device: str | None = None, *, group: bool = False) -> Iterator[World]:
    """Join the job that torchrun or ``zoo train --procs`` started this process for, or be one process alone.

    Args:
        device: where to compute; this process's GPU, or the CPU where there is none, if left out.
        group: make a process group for a single process too, which FSDP needs.

    Raises:
        ZooError: there is no such device.
    """
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _ENVIRONMENT)
    place = _device(device, local)
    if size == 1 and not group:
        yield World(rank, size, place)
        return
    backend = f"cpu:gloo,{place.type}:{'nccl' if place.type == 'cuda' else 'gloo'}" if place.type != "cpu" else "gloo"
    store = _store() if size > 1 else dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield World(rank, size, place)
    except Preempted:
        _leave()
        raise
    _leave()


_ENVIRONMENT = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def _leave() -> None:
    """End the process group, where no process has failed.

    A barrier comes first: gloo's threads may still hold tensors of the last exchange, for which they need the
    interpreter's lock, and would wait for it for ever while this thread holds it and waits for them.
    """
    dist.barrier()
    dist.destroy_process_group()


def _store() -> Any:
    """The store in which the processes find each other.

    On one node it is named by the attempt: after torchrun's restart, processes would otherwise read the addresses of
    those that have died.
    """
    store, _, _ = next(rendezvous("env://"))
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        return dist.PrefixStore(  # type: ignore[attr-defined]
            f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store
        )
    return store


def _device(name: str | None, local: int) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda":
            device = torch.device("cuda", local if device.index is None else device.index)
            torch.cuda.set_device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ZooError(f"--device {name}: cannot be used: {reason}") from error
    return device
