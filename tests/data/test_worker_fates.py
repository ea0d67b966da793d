"""How a data worker has ended, also where there are fewer signals; the rest is in test_workers.py."""

import os
import signal
from multiprocessing import get_context

from zoo.data.worker_fates import how_ended


def test_a_worker_that_ends_on_a_system_of_fewer_signals(monkeypatch):
    """Such as Windows."""
    worker = get_context("fork").Process(target=os._exit, args=(9,))
    worker.start()
    for name in ("SIGKILL", "SIGBUS"):
        monkeypatch.delattr(signal, name)
    assert how_ended([worker]) == f"data worker 0 (process {worker.pid}) ended with exit code 9"
