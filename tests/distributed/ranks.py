"""Several processes of one job: two take 0.3 s, where torchrun takes 10.

They are forked from a server that has imported everything and done nothing: gloo's threads, and those that the tests'
own process may have by now, do not go well with a fork.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import torch
import torch.distributed as dist
from jaxtyping import config

from tests.once import draw_no_curve
from zoo.distributed.distributed import Distributed, join_processes

TIMEOUT = 120.0

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "tests.conftest",
        *("tests.distributed.test_distributed", "tests.evaluate.test_evaluation", "tests.runs.test_weights"),
        "tests.train.test_run",
        *("matplotlib.pyplot", "sklearn.datasets", "torch._dynamo.repro.after_dynamo"),  # which are imported late
    ]
)


def run_ranks(
    work: Callable[..., Any],
    ranks: int,
    *arguments: Any,
    group: bool = False,
    timeout: float = TIMEOUT,
    meet_at: int | None = None,
) -> list[Any]:
    """What ``work(world, *arguments)`` returned on each of the ranks; an exception is returned in its place.

    Of a rank that ended without a word, a SystemExit with its exit code is returned.

    ``work`` may be a closure: it is sent by value. What a test has patched in its own process is not.

    They meet as under torchrun, which has the store; or at the port ``meet_at``, where rank 0 has it.
    """
    if meet_at is None:
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # at a port that none can take
        meeting = {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    else:
        meeting = {"MASTER_PORT": str(meet_at)}
    task = cloudpickle.dumps((work, arguments))
    processes, ends = [], []
    for rank in range(ranks):
        here, there = SERVER.Pipe(duplex=False)
        environment = {**os.environ, **_environment(rank, ranks), **meeting}
        process = SERVER.Process(target=_run, args=(task, environment, group, timeout, there))
        process.start()
        there.close()
        processes.append(process)
        ends.append(here)
    try:
        found = []
        for rank, end in enumerate(ends):
            assert end.poll(TIMEOUT), f"rank {rank} has not ended"
            try:
                found.append(pickle.loads(end.recv_bytes()))
            except EOFError:
                processes[rank].join()
                found.append(SystemExit(processes[rank].exitcode))
        return found
    finally:
        for process in processes:
            process.join(5)
            process.kill()


def _environment(rank: int, ranks: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }


def _run(task: bytes, environment: Mapping[str, str], group: bool, timeout: float, end: Connection) -> None:
    faulthandler.enable()
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    config.update("jaxtyping_disable", True)  # as where the tests are that have ranks
    draw_no_curve()
    # Data workers are started as in any run: in the server's way, which this process has from it, each rank would start
    # another server for them, that imports everything anew for 10 s.
    multiprocessing.set_start_method(None, force=True)
    try:
        work, arguments = pickle.loads(task)
        with join_processes("cpu", group=group, timeout=timeout) as world:
            result = work(world, *arguments)
    except Exception as error:
        error.add_note(traceback.format_exc())
        result = error
    end.send_bytes(pickle.dumps(result))  # not end.send, by which PyTorch would share memory that is about to go


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` returns on a single process, which is this one."""
    return work(Distributed(0, 1, torch.device("cpu")), *arguments)
