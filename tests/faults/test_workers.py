"""Runs whose data workers stop, die or fail: all steps that were done are saved, and the process ends."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.ranks import run_ranks
from tests.train.small import small
from zoo.data import workers
from zoo.distributed.distributed import Distributed
from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer


def run_with(
    path: Path, after_first_step: Callable[[list[int]], None], *overrides: str, limit: float = 3600.0, ranks: int = 1
) -> Any:
    """What a run of 100 steps comes to on its last process, whose workers meet with something after a step."""

    def work(world: Distributed) -> tuple[int, str, int]:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        plain = Trainer._update

        def update(self: Trainer, *arguments: Any, **options: Any) -> Any:
            plain(self, *arguments, **options)
            if self.step == 1 and world.rank == ranks - 1:
                after_first_step([each.pid for each in active_children() if each.pid is not None])

        registry = Registry()
        options = ("data.workers=2", "train.steps=100", f"train.timeout={limit}", *overrides)
        recipe = small(*options, registry=registry)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "_update", update)
            patch.setattr(workers, "POLL", 0.1)
            try:
                Run(recipe, RunFolder(path), registry, world, Silent()).train()
            except ZooError as error:
                return error.exit_code, str(error), len(active_children())
        return 0, "done", len(active_children())

    return run_ranks(work, ranks, group=ranks > 1)[-1]


def saved_steps(path: Path) -> int:
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert not problems
    return newest.step


def stop_all(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def test_workers_that_are_stopped_end_the_run_in_time_and_it_has_saved(tmp_path: Path) -> None:
    code, told, left = run_with(tmp_path, stop_all, limit=1)
    assert (code, left) == (3, 0)
    told = re.sub(r"\d+ s ", "N s ", told)
    assert "has given nothing for N s and is stopped by a signal; if it only needs longer, set train.timeout" in told
    assert 1 <= saved_steps(tmp_path) < 100


def test_all_processes_save_their_shares_where_one_has_workers_that_are_stopped(tmp_path: Path) -> None:
    code, told, left = run_with(tmp_path, stop_all, "train.parallel=fsdp", limit=1, ranks=2)
    assert (code, left) == (3, 0)
    assert "is stopped by a signal" in told
    assert 1 <= saved_steps(tmp_path) < 100


def test_a_signal_ends_the_wait_for_workers_that_are_stopped(tmp_path: Path) -> None:
    def stop_and_signal(pids: list[int]) -> None:
        stop_all(pids)
        signal.setitimer(signal.ITIMER_REAL, 0.5)  # by when the run waits for them, or has yet to
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))

    code, told, left = run_with(tmp_path, stop_and_signal)
    assert (code, left) == (75, 0)
    assert f"saved after step {saved_steps(tmp_path)} of 100" in told


def test_a_worker_that_is_killed_ends_the_run_and_it_has_saved(tmp_path: Path) -> None:
    def kill(pids: list[int]) -> None:
        os.kill(pids[0], signal.SIGKILL)

    code, told, left = run_with(tmp_path, kill)
    assert (code, left) == (3, 0)
    assert "was killed by SIGKILL; if it was for lack of memory, as `dmesg` would tell, set data.workers lower" in told
    assert 1 <= saved_steps(tmp_path) < 100
