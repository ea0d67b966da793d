"""Several processes of one job, forked from this one: two take 0.2 s, where torchrun takes 10."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from zoo.train.distributed import World, join_world

TIMEOUT = 120.0


def run_ranks(work: Callable[..., Any], ranks: int, *arguments: Any, group: bool = False) -> list[Any]:
    """What ``work(world, *arguments)`` returned on each of the ranks; an exception is returned in its place."""
    context = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes, ends = [], []
    for rank in range(ranks):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(work, rank, ranks, port, group, there, arguments))
        process.start()
        there.close()
        processes.append(process)
        ends.append(here)
    try:
        found = []
        for rank, end in enumerate(ends):
            assert end.poll(TIMEOUT), f"rank {rank} has not ended"
            found.append(pickle.loads(end.recv_bytes()))
        return found
    finally:
        for process in processes:
            process.join(5)
            process.kill()


def _run(
    work: Callable[..., Any], rank: int, ranks: int, port: int, group: bool, end: Connection, arguments: tuple[Any, ...]
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        with join_world("cpu", group=group) as world:
            result = work(world, *arguments)
    except Exception as error:
        error.add_note(traceback.format_exc())
        result = error
    end.send_bytes(pickle.dumps(result))  # not end.send, by which PyTorch would share memory that is about to go


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` returns on a single process, which is this one."""
    return work(World(0, 1, torch.device("cpu")), *arguments)
