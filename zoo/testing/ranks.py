"""Two ranks of one job: forked from this process, so that they have the part, wherever it was written."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist

from zoo.errors import first_line
from zoo.testing.law import NotRun

RANKS = 2
TIMEOUT = 60.0
"""Seconds that the ranks have, of which they need one."""

FORKED_TOO_LATE = "autograd's threading in combination with fork"
"""What PyTorch says in a process that was forked after a backward pass, where there is an accelerator."""

OF_THE_OTHER = "/gloo/"
"""Where an error comes from of which the other rank knows more, having ended."""


def on_two_ranks(work: Callable[[int], None]) -> None:
    """Run ``work(rank)`` on two ranks of a gloo group, which end with it.

    Raises:
        AssertionError: it raised something on a rank, or a rank died, or has not ended in time: in a line.
        NotRun: there can be no ranks here.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise NotRun("processes are not forked on this system")
    if dist.is_initialized():
        raise NotRun("this process is a rank of another job")
    import_module("torch._dynamo")  # which DDP does, once for all in place of twice for every part
    with tempfile.TemporaryDirectory() as folder:
        _run(work, Path(folder) / "store")


def _run(work: Callable[[int], None], store: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes, ends = [], {}
    try:
        for rank in range(RANKS):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_be_a_rank, args=(work, rank, store, there))
            with warnings.catch_warnings():  # of threads, which the ranks do without
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            there.close()
            processes.append(process)
            ends[here] = rank
        _hear(ends, processes)
    finally:
        for process in processes:
            process.kill()
            process.join()
        for end in ends:
            end.close()


def _hear(ends: dict[Connection, int], processes: list[Any]) -> None:
    until, left, told_of_others = monotonic() + TIMEOUT, list(ends), ""
    while left:
        ready = wait(left, max(0.0, until - monotonic()))
        waiting = " and ".join(str(ends[end]) for end in left)
        assert ready, f"rank {waiting}: no end after {TIMEOUT:g} s, as where one waits for what another does not send"
        for end in ready:
            assert isinstance(end, Connection)
            left.remove(end)
            try:
                problem = end.recv()
            except EOFError:
                processes[ends[end]].join()
                problem = f"ended with exit code {processes[ends[end]].exitcode}, without a word"
            if FORKED_TOO_LATE in problem:
                told = "PyTorch for accelerators cannot fork after a backward pass; give the law to check_part alone"
                raise NotRun(told)
            if OF_THE_OTHER in problem:
                told_of_others = f"rank {ends[end]}: {problem}"
            else:
                assert not problem, f"rank {ends[end]}: {problem}"
    assert not told_of_others, told_of_others


def _be_a_rank(work: Callable[[int], None], rank: int, store: Path, end: Connection) -> None:
    torch.set_num_threads(1)  # OpenMP's have stayed with the process that this one was forked from
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for that process, which then ends this one
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # what gloo says when the other rank has gone
        os.dup2(nowhere, descriptor)
    problem = ""
    try:
        group = dist.FileStore(str(store), RANKS)  # type: ignore[attr-defined] # no port that another could take
        dist.init_process_group("gloo", store=group, rank=rank, world_size=RANKS, timeout=timedelta(seconds=TIMEOUT))
        work(rank)
    except AssertionError as error:
        problem = str(error)
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
    end.send(problem)
