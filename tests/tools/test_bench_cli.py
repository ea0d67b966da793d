"""Commands are timed with one thread, whatever the caller has set."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

ONE_THREAD = "import os, sys; sys.exit(os.environ['OMP_NUM_THREADS'] != '1')"


def test_a_command_that_is_timed_has_one_thread(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    seconds, megabytes = import_module("bench_cli").run([sys.executable, "-c", ONE_THREAD])
    assert min(seconds, megabytes) > 0
    with pytest.raises(Exception, match="returned non-zero exit status 1"):
        import_module("bench_cli").run([sys.executable, "-c", ONE_THREAD.replace("!=", "==")])
