"""Signals at any time of a command: it has not begun, or it saves and ends with 75; and nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing import SignalException
from typer.testing import CliRunner

import zoo.signals
from tests.distributed.ranks import run_ranks
from tests.train.small import small
from tests.train.small import train as train_small
from zoo.callbacks.pictures import Pictures
from zoo.cli import app
from zoo.distributed import launch
from zoo.distributed.distributed import Distributed
from zoo.distributed.stopping import asked_to_stop, deaf_once_stopped
from zoo.errors import Preempted
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import RunFolder
from zoo.sampling import images as sampling
from zoo.signals import stop_signals
from zoo.train import run as run_module
from zoo.train.run import Run, Silent
from zoo.train.trainer import Trainer

NUMBERS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]
by_name = pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def dispositions() -> Iterator[None]:
    """As in a shell's foreground, and as they were for the tests after these."""
    before = {each: signal.signal(each, signal.SIG_DFL) for each in NUMBERS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def told_of_run(world: Distributed, path: Path, *, resume: bool = False) -> str:
    registry = Registry()
    try:
        Run(small(registry=registry), RunFolder(path), registry, world, Silent()).train(resume=resume)
    except Preempted as stop:
        return str(stop)
    return "done"


def signalled(
    where: Any, name: str, number: int, path: Path, *, rank: int = 0, before: Callable[[], object] = lambda: None
) -> Callable[..., str]:
    """A run in which a process gets a signal when it begins with what ``name`` in ``where`` does."""

    def work(world: Distributed, resume: bool = False) -> str:
        for each in NUMBERS:
            signal.signal(each, signal.SIG_DFL)
        before()
        plain = getattr(where, name)

        def patched(*arguments: Any, **options: Any) -> Any:
            if world.rank == rank:
                os.kill(os.getpid(), number)
            return plain(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, name, patched)
            return told_of_run(world, path, resume=resume)

    return work


@by_name
@pytest.mark.parametrize(("ranks", "rank"), [(1, 0), (2, 1)])
def test_each_of_them_finishes_the_step_and_saves(tmp_path: Path, number: int, ranks: int, rank: int) -> None:
    told = run_ranks(signalled(Trainer, "_clip", number, tmp_path / "run", rank=rank), ranks)
    go_on = f"go on with: zoo train --resume --run-dir {tmp_path}/run"
    assert told == [f"{tmp_path}/run: asked to stop, and saved after step 1 of 3; {go_on}"] * ranks
    newest, problems = checkpoints.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert (newest.step, problems) == (1, [])


def test_what_is_ignored_from_the_start_stays_ignored(tmp_path: Path) -> None:
    """As SIGHUP is under nohup."""

    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    assert run_ranks(signalled(Trainer, "_clip", signal.SIGHUP, tmp_path, before=nohup), 1) == ["done"]


def test_shells_that_ignore_ctrl_c_for_their_background_jobs_do_not_make_a_run_deaf(tmp_path: Path) -> None:
    def background() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    (told,) = run_ranks(signalled(Trainer, "_clip", signal.SIGINT, tmp_path, before=background), 1)
    assert "saved after step 1" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1], ids=lambda number: number.name)
def test_before_anything_is_begun_it_just_ends(tmp_path: Path, number: int) -> None:
    """While parts are built and data is opened, which may take minutes."""
    (ended,) = run_ranks(signalled(run_module, "open_job", number, tmp_path / "run"), 1)
    assert ended.code == -number
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ranks", [1, 2])
def test_asked_as_the_folder_is_about_to_be_made_it_is_not_made(tmp_path: Path, ranks: int) -> None:
    """A rank may be asked sooner than another looks: all of them agree first."""
    told = run_ranks(signalled(run_module, "refuse_to_begin", signal.SIGTERM, tmp_path / "run", rank=ranks - 1), ranks)
    assert told == ["asked to stop before anything was begun or changed; go on with the same command"] * ranks
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["restore", "Saver"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_asked_before_the_first_step_it_does_not_do_it(tmp_path: Path, name: str, ranks: int) -> None:
    """Which may take minutes to compile, or to wait for data."""
    work = signalled(run_module, name, signal.SIGTERM, tmp_path / "run", rank=ranks - 1)
    for told in run_ranks(work, ranks):
        assert "asked to stop before its first step; go on with: zoo train --resume" in told
    assert run_ranks(told_of_run, 1, tmp_path / "run") != ["done"]
    assert run_ranks(lambda world: told_of_run(world, tmp_path / "run", resume=True), 1) == ["done"]


def test_asked_while_the_last_pictures_are_drawn_it_is_done(tmp_path: Path) -> None:
    assert run_ranks(signalled(Pictures, "_draw", signal.SIGTERM, tmp_path), 1) == ["done"]
    assert list((tmp_path / "samples").glob("*.png"))


@by_name
def test_a_run_that_has_saved_keeps_its_exit_code_whatever_comes_after(number: int) -> None:
    with pytest.raises(Preempted), deaf_once_stopped():
        raise Preempted("saved")
    os.kill(os.getpid(), number)


@contextmanager
def signalled_at_its_end(number: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.kill(os.getpid(), number)


@by_name
def test_there_is_no_moment_in_which_it_does_not(number: int) -> None:
    with pytest.raises(Preempted), deaf_once_stopped(), signalled_at_its_end(number), asked_to_stop(patient=True):
        raise Preempted("saved")


@by_name
def test_a_process_that_does_not_end_with_its_run_gets_its_handlers_back(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Preempted), asked_to_stop(patient=True):
        raise Preempted("saved")
    assert signal.getsignal(number) == before


@by_name
def test_the_launcher_passes_on_one_signal_and_is_deaf_to_more(number: int) -> None:
    """PyTorch's agent breaks off its wait for the processes at a second one, and they lose what they were saving."""
    with launch._first_signal_raised():
        with pytest.raises(SignalException) as caught:
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert caught.value.sigval == number
    os.kill(os.getpid(), number)  # it has yet to end with the code of its processes


def test_under_nohup_the_launcher_does_not_heed_sighup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with launch._first_signal_raised():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_ends_other_commands_tidily(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train_small(tmp_path / "run", "train.steps=1")

    def stopped(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("goes on")

    monkeypatch.setattr(sampling, "draw_samples", stopped)
    result = CliRunner().invoke(app, ["sample", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")])
    assert (result.exit_code, result.stdout, result.stderr) == (128 + number, "", "")
    assert signal.getsignal(number) == signal.SIG_DFL


def test_signals_that_a_system_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.signals, "NAMES", ("SIGTERM", "SIGBREAK", "SIGINT"))  # which Windows has
    assert stop_signals() == [signal.SIGTERM, signal.SIGINT]


def test_in_a_thread_nothing_is_handled(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=train_small, args=(tmp_path, "train.steps=1"))
    thread.start()
    thread.join()
    assert checkpoints.latest(tmp_path / "checkpoints")[0] is not None
    assert signal.getsignal(signal.SIGTERM) == handler
