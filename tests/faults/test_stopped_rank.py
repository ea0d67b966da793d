"""A process of a job stops, without ending: the others do not wait for it for ever, and lose nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.ranks import TIMEOUT, run_ranks
from tests.train.small import small
from zoo.distributed import watch
from zoo.distributed.distributed import Distributed
from zoo.distributed.launch import EXIT_CODES
from zoo.distributed.watch import Watch
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer

PATIENCE = 5.0
"""``train.timeout`` of the tests: on a busy machine too, no process that lives is silent for so long."""

STEPS, LAST = 6, 3
"""Updates of a run, and the one after which a process stops."""


def train(
    world: Distributed, path: Path, *overrides: str, stops: int | None = None, signalled: int | None = None
) -> str:
    """Train; process ``stops`` stops itself after the update ``LAST``, and sends a signal to the first one before."""
    os.dup2(os.open(path.with_name(f"said by {world.rank}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    update = Trainer._told

    def stop_after(self: Trainer, *args: Any, **options: Any) -> Any:
        step = update(self, *args, **options)
        if step.step == LAST - 1:  # by then all know of each other which process to end
            wait_until(lambda: world.watch is not None and all(beat.count for beat in world.watch.beats.seen))
        if world.rank == stops and step.step == LAST:
            if signalled is not None and world.watch is not None:
                os.kill(world.watch.beats.seen[0].pid, signalled)
            os.kill(os.getpid(), signal.SIGSTOP)
        return step

    Trainer._told = stop_after  # type: ignore[method-assign]
    recipe = small(f"train.steps={STEPS}", "train.checkpoint_every=2", *overrides)
    resume = path.exists()
    try:
        Run(recipe, RunFolder(path), Registry(), world, Silent()).train(resume=resume)
    finally:
        Trainer._told = update  # type: ignore[method-assign]
    return "done"


def wait_until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def said(path: Path, rank: int) -> list[str]:
    return path.with_name(f"said by {rank}").read_text().splitlines()


def said_without_seconds(path: Path, rank: int) -> list[str]:
    return [re.sub(r"for \d+ s", "for N s", line) for line in said(path, rank)]


def told_at_the_end(path: Path, rank: int) -> list[str]:
    """Without what the main thread says of a signal, once what it waits for has ended: before, or after."""
    return [line for line in said_without_seconds(path, rank) if line != "stopping after this step"]


def hashes(path: Path) -> dict[str, Any]:
    """Of the tensors after the last update."""
    files = json.loads((checkpoints.at_step(path / "checkpoints", STEPS).path / checkpoints.MANIFEST).read_text())
    return {name: each["sha256"] for name, each in files["files"].items() if name.endswith(".safetensors")}


def codes(found: list[Any]) -> list[Any]:
    return [each.code if isinstance(each, SystemExit) else each for each in found]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run_ranks(train, 2, path) == ["done", "done"]
    return hashes(path)


@pytest.mark.parametrize("stopped", [0, 1])
def test_the_others_tell_which_process_stopped_and_save(
    stopped: int, tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is the one that saves, another one does, once it is gone: it holds the run's folder."""
    path = tmp_path / "run"
    (tmp_path / "codes").mkdir()
    monkeypatch.setenv(EXIT_CODES, str(tmp_path / "codes"))
    found = run_ranks(train_stopping, 2, path, stopped, timeout=PATIENCE)
    assert (codes(found)[stopped], codes(found)[1 - stopped]) == (-signal.SIGKILL, 3)
    assert said_without_seconds(path, 1 - stopped) == [
        f"error: step 4: process {stopped} has not answered for N s (train.timeout); saved after step 3 of 6;"
        f" go on with: zoo train --resume --run-dir {path}"
    ]
    assert said(path, stopped) == []
    assert {each.name: each.read_text() for each in (tmp_path / "codes").iterdir()} == {"0": "3", "1": "3"}
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (LAST, [])
    assert run_ranks(train, 2, path) == ["done", "done"]
    assert hashes(path) == undisturbed


def train_stopping(world: Distributed, path: Path, stops: int, *overrides: str, signalled: int | None = None) -> str:
    return train(world, path, *overrides, stops=stops, signalled=signalled)


def test_of_three_processes_one_alone_tells(tmp_path: Path) -> None:
    path = tmp_path / "run"
    found = run_ranks(train_stopping, 3, path, 0, "train.batch=12", timeout=PATIENCE)
    assert codes(found) == [-signal.SIGKILL, 3, 3]
    assert [len(said(path, rank)) for rank in range(3)] == [0, 1, 0], [said(path, rank) for rank in range(3)]


def train_elsewhere(world: Distributed, path: Path) -> str:
    """Process 1 asks, after an update, for what the first one never comes to: that waits for its gradients."""
    told = Trainer._told

    def ask(self: Trainer, *args: Any, **options: Any) -> Any:
        step = told(self, *args, **options)
        if world.rank == 1 and step.step == LAST:
            world.first(list)
        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_told", ask)
        return train(world, path, "train.log_every=100")


def test_processes_that_wait_in_different_exchanges_are_ended(tmp_path: Path) -> None:
    """They have come to as many, and both give signs of life."""
    path = tmp_path / "run"
    found = run_ranks(train_elsewhere, 2, path, timeout=PATIENCE)
    assert codes(found) == [3, -signal.SIGKILL]
    assert said_without_seconds(path, 0) == [
        "error: step 4: process 1 has not answered for N s (train.timeout); saved after step 3 of 6;"
        f" go on with: zoo train --resume --run-dir {path}"
    ]


@pytest.fixture
def port() -> Iterator[int]:
    """One that is kept for a process of ours, which may listen at it where this one does not."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


def test_none_waits_for_ever_where_the_process_with_the_store_stops(tmp_path: Path, port: int) -> None:
    """As without a launcher of zoo's or PyTorch's: once it is gone, nobody hears of anybody else."""
    path = tmp_path / "run"
    found = run_ranks(train_stopping, 3, path, 0, "train.batch=12", timeout=PATIENCE, meet_at=port)
    assert codes(found) == [-signal.SIGKILL, 3, 3]
    told = [line for rank in range(3) for line in said(path, rank) if "error: " in line]  # among PyTorch's own warnings
    assert len(told) == 1, told
    assert "process 0 has not answered for " in told[0]
    assert "; saved after step 3 of 6; " in told[0]


@pytest.mark.parametrize("signalled", [None, signal.SIGTERM])
def test_shares_of_the_weights_are_not_saved(signalled: int | None, tmp_path: Path) -> None:
    """And the exit code does not say so, though the job has been asked to stop."""
    path = tmp_path / "run"
    work = partial(train_stopping, signalled=signalled)
    found = run_ranks(work, 2, path, 1, "train.parallel=fsdp", group=True, timeout=PATIENCE)
    assert codes(found) == [3, -signal.SIGKILL]
    asked, limit = ("", " (train.timeout)") if signalled is None else ("asked to stop, but ", "")
    assert told_at_the_end(path, 0)[-1:] == [
        f"error: step 4: {asked}process 1 has not answered for N s{limit}; not saved: every process holds but a share"
        f" of the weights (train.parallel: fsdp); the last checkpoint is {path}/checkpoints/step_00000002; go on with:"
        f" zoo train --resume --run-dir {path}"
    ]


def test_a_stop_ends_the_wait_within_seconds(tmp_path: Path) -> None:
    path = tmp_path / "run"
    found = run_ranks(stopping_with_signal, 2, path, signal.SIGTERM, timeout=TIMEOUT)
    assert codes(found) == [75, -signal.SIGKILL]
    assert told_at_the_end(path, 0)[-1] == (
        "stopped: step 4: asked to stop, but process 1 has not answered for N s; saved after step 3 of 6;"
        f" go on with: zoo train --resume --run-dir {path}"
    )
    newest, _ = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert newest.step == LAST


def stopping_with_signal(world: Distributed, path: Path, number: int) -> str:
    return train(world, path, stops=1, signalled=number)


def train_alone_in_the_end(world: Distributed, path: Path) -> str:
    """Process 1 fails in a step, and ends; process 0 saves until the watch has given the other one up, twice over."""
    given_up = threading.Event()
    clip, save, count = Trainer._clip, checkpoints.save, Watch._count
    calls = iter(range(1000))

    def fail(self: Trainer) -> Any:
        if world.rank == 1 and self.step == LAST:
            raise KeyError("of a plug-in")
        return clip(self)

    def note_saving(*arguments: Any) -> Any:
        with path.with_name("saves").open("a") as file:
            file.write(f"{threading.current_thread().name}\n")
        if threading.current_thread() is threading.main_thread():
            assert given_up.wait(TIMEOUT)
        return save(*arguments)

    def note_given_up(self: Watch, seconds: float) -> dict[int, float]:
        silent = count(self, seconds)
        if silent and next(calls) == 1:
            given_up.set()
        return silent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_clip", fail)
        patch.setattr(checkpoints, "save", note_saving)
        patch.setattr(Watch, "_count", note_given_up)
        return train(world, path, "train.checkpoint_every=100")


def test_one_who_saves_alone_is_not_ended_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run_ranks(train_alone_in_the_end, 2, path, timeout=PATIENCE)
    assert path.with_name("saves").read_text().splitlines() == ["MainThread"]
    newest, problems = checkpoints.latest(path / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (LAST, [])


def work_long(world: Distributed, path: Path) -> Any:
    """The main process works until it has told of it, which it does after every ``timeout``."""
    os.dup2(os.open(path.with_name(f"said by {world.rank}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    told, say = threading.Event(), watch._say

    def note(text: str) -> None:
        say(text)
        told.set()

    def work() -> bool:
        return told.wait(TIMEOUT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "_say", note)
        return world.first(work)


def test_the_main_process_may_save_and_draw_for_long(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert run_ranks(work_long, 2, path, timeout=PATIENCE) == [True, True]
    assert said(path, 1) == []
    assert [re.sub(r"after \d+ s", "after N s", line) for line in said(path, 0)] == [
        "note: process 0 still saves, draws or judges, after N s; others wait"
    ]
