"""A process of a job that has to end does so, whatever fails meanwhile: its main thread waits for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch.distributed as dist

from zoo.distributed import beats
from zoo.distributed.beats import Beat
from zoo.distributed.launch import EXIT_CODES, leave_exit_code
from zoo.distributed.watch import Watch, Work
from zoo.errors import RunError


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends raises SystemExit instead."""

    def end(code: int) -> NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end)


def test_a_process_ends_where_what_it_does_before_fails(
    ends: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Watch, silent: Any) -> NoReturn:
        raise KeyError("beat")

    monkeypatch.setattr(Watch, "_ending", fail)
    watch = Watch(dist.HashStore(), 0, 2, 60.0, None)  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as ended:
        watch._end({1: 60.0})
    assert ended.value.code == 1
    assert capfd.readouterr().err == "error: a fault of zoo: process 0 ends by KeyError: 'beat'\n"


def saved() -> str:
    return "saved after step 3 of 6; go on with: zoo train --resume --run-dir D"


HELD = f"{'D' * 1000}: another process is training in this folder; there is no checkpoint yet"


def held() -> NoReturn:
    raise RunError(HELD)


CUT_OFF = "asked to stop, but the others cannot be heard (is the launcher gone?)"


@pytest.mark.parametrize(
    ("rescue", "code", "said"),
    [
        (saved, 75, f"stopped: step 4: {CUT_OFF}; {saved()}\n"),
        (held, 3, f"error: step 4: {CUT_OFF}; not saved: {HELD}\n"),
        (None, 3, f"error: {CUT_OFF}\n"),
    ],
)
def test_a_process_that_hears_nobody_saves_and_tells(
    ends: None, rescue: Any, code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(dist.HashStore(), 1, 2, 0.01, None)  # type: ignore[attr-defined]
    watch._asked = True
    watch.work = rescue and Work(lambda: 3, rescue)
    with pytest.raises(SystemExit) as ended:
        watch._end({})
    assert ended.value.code == code
    assert capfd.readouterr().err == said


@pytest.mark.parametrize("lives", [True, False])
def test_one_that_is_ended_though_it_lives_takes_the_exit_code(lives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another machine, where it cannot be killed."""
    watch = Watch(dist.HashStore(), 0, 2, 1.0, None)  # type: ignore[attr-defined]
    watch.work = Work(lambda: 3, saved)
    for rounds in range(10):
        watch.beats.rounds = rounds
        watch.beats.seen[1] = Beat(count=rounds if lives else 1)
        watch._count(1.0)
    announced: list[int | None] = []
    monkeypatch.setattr(watch.beats, "announce", lambda code=None: announced.append(code))
    assert watch._ending({1: 1.0}) == 3
    assert announced == ([None, 3] if lives else [])


def test_an_exit_code_that_cannot_be_left_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXIT_CODES, str(tmp_path / "removed"))
    leave_exit_code(75, rank=1)
    monkeypatch.setenv(EXIT_CODES, str(tmp_path))
    leave_exit_code(75, rank=1)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"1": "75"}


def test_a_process_that_has_ended_by_itself_need_not_be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(beats, "_born", lambda pid: "1")
    assert not Beat(machine=os.uname().nodename, pid=ended.pid, born="1").kill()


@pytest.mark.parametrize(("seconds", "told"), [(600.2, "600 s"), (1.0, "1 s"), (0.0042, "0.004 s")])
def test_a_silence_is_not_told_as_none(seconds: float, told: str) -> None:
    watch = Watch(dist.HashStore(), 0, 2, 60.0, None)  # type: ignore[attr-defined]
    assert watch._words({1: seconds}) == f"process 1 has not answered for {told} (train.timeout)"
