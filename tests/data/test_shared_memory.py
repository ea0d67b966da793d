"""Too little shared memory for data workers, and too few cores, are said before training begins."""

import os
from types import SimpleNamespace

import pytest

from zoo.data import shared_memory
from zoo.data.shared_memory import concerns


@pytest.fixture
def machine(monkeypatch):
    """Four cores, and 64 MB of shared memory, as in a container."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=64_000, f_frsize=1000), raising=False)


def test_too_little_shared_memory_is_said_at_the_start(machine):
    batch = 2 * 4 * 256 * 4 * 32 * 32
    assert concerns(0, 1, batch) == concerns(3, 1, batch) == []
    assert concerns(4, 1, batch) == [
        "warning: /dev/shm has 64.0 MB free, and data workers may fill 75.5 MB (batches of 8.4 MB, data.workers: 4,"
        " processes: 1): training will stop when it is full; set data.workers lower, or make it larger (docker run"
        " --shm-size)"
    ]


def test_more_workers_than_cores_are_said_once_at_the_start(machine):
    assert concerns(4, 1, 1) == concerns(2, 2, 1) == []
    assert concerns(3, 2, 1) == [
        "warning: 6 data workers (data.workers: 3, processes: 2) on 4 processor cores slow each other down; set"
        " data.workers lower"
    ]


def test_where_there_is_no_such_folder_nothing_is_said_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path / "none")
    assert concerns(1, 1, 10**15) == []
