"""Processes that wait for others say so, can be stopped, and meet nobody at another program's port."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TextIO

import pytest

from tests.distributed.ranks import SERVER, TIMEOUT
from zoo.distributed import meeting
from zoo.distributed.distributed import join_processes
from zoo.errors import LauncherError


@pytest.fixture
def port() -> Iterator[int]:
    """One at which another program listens, but speaks to nobody."""
    with socket.create_server(("", 0)) as taken:
        yield taken.getsockname()[1]


def join(rank: int, port: int, end: Connection) -> None:
    """Join a job of two whose other process never comes, and say how it ends."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    meeting.SAID_AFTER = 0.01
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with os.fdopen(end.fileno(), "w", buffering=1, closefd=False) as sys.stderr:
        try:
            with join_processes("cpu"):
                pass
        except (LauncherError, KeyboardInterrupt) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    os._exit(0)


@contextmanager
def joining(rank: int, port: int) -> Iterator[tuple[BaseProcess, TextIO]]:
    """A process that joins, and what it says."""
    here, there = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=join, args=(rank, port, there))
    process.start()
    there.close()
    try:
        with os.fdopen(here.fileno(), closefd=False) as said:
            yield process, said
        process.join(TIMEOUT)
        assert process.exitcode == 0
    finally:
        process.kill()


def test_a_process_that_waits_says_where_and_for_how_many_and_can_be_stopped(port: int) -> None:
    with joining(1, port) as (process, said):
        assert said.readline() == f"waiting for 2 processes at 127.0.0.1:{port}\n"
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        assert said.read() == "KeyboardInterrupt: \n"


def test_a_port_of_another_program(port: int) -> None:
    with joining(0, port) as (_, said):
        *_, last = said
    assert last == (
        "LauncherError: process 0 of 2 meets no others at MASTER_ADDR:MASTER_PORT"
        f" 127.0.0.1:{port}: another program uses this port; set another\n"
    )
