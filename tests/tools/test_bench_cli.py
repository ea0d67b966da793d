"""Commands are timed with one thread, whatever the caller has set."""

import sys

import bench_cli
import pytest

ONE_THREAD = "import os, sys; sys.exit(os.environ['OMP_NUM_THREADS'] != '1')"


def test_a_command_that_is_timed_has_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    seconds, megabytes = bench_cli.run([sys.executable, "-c", ONE_THREAD])
    assert min(seconds, megabytes) > 0
    with pytest.raises(Exception, match="returned non-zero exit status 1"):
        bench_cli.run([sys.executable, "-c", ONE_THREAD.replace("!=", "==")])
