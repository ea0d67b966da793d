"""Ranks start from a clean process, with the environment of the test that asks for them."""

from __future__ import annotations

import os
import threading

import pytest

from tests.distributed.ranks import run_ranks
from zoo.distributed.distributed import Distributed


def origin(world: Distributed) -> tuple[int, int, str | None]:
    return (
        os.getppid(),
        sum(not each.name.startswith("zoo ") for each in threading.enumerate()),
        os.environ.get("ZOO_TEST"),
    )


def test_ranks_are_not_forked_from_a_process_with_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_TEST", "of this test")
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        (first, *rest) = run_ranks(origin, 2)
    finally:
        done.set()
        thread.join()
    assert rest == [first]
    assert first[0] != os.getpid()
    assert first[1:] == (1, "of this test")
