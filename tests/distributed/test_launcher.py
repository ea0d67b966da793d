"""What the launcher of several processes tells of their ends, which PyTorch's agent brings about in any order."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import typer
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from typer.testing import CliRunner

from zoo.cli.common import Commands
from zoo.distributed import launch as launching
from zoo.distributed.failures import LOST
from zoo.distributed.launch import launch, leave_exit_code
from zoo.errors import RecipeError, RunError, ZooError

ARGUMENTS = ("train", "--recipe", "my recipe.yaml", "--procs", "2")


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The exit code of a job of which one process is the first to end, after something else was done."""
    monkeypatch.setattr(launching.logging, "disable", lambda level: None)
    for name in ("OMP_NUM_THREADS", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", launching.EXIT_CODES):
        monkeypatch.setenv(name, "1")

    def end(rank: int, exit_code: int, before: Callable[[], object] = lambda: None) -> int:
        def run(*arguments: str) -> NoReturn:
            before()
            raise ChildFailedError("zoo", {rank: ProcessFailure(rank, 1, exit_code, "")})

        monkeypatch.setattr(launching, "elastic_launch", lambda *_: run)
        return launch(ARGUMENTS, 2)

    return end


REFUSED = RecipeError(["train.batch: must be 1 or more"])


def ended(rank: int, monkeypatch: pytest.MonkeyPatch, error: ZooError = REFUSED) -> str:
    """What a process prints that ends with an error; if none is said, with one that all meet."""
    app = typer.Typer(cls=Commands)
    app.callback()(lambda: None)

    @app.command()
    def train() -> None:
        raise error

    monkeypatch.setenv("RANK", str(rank))
    result = CliRunner().invoke(app, ["train"])
    leave_exit_code(result.exit_code)
    return result.stderr


@pytest.mark.parametrize("code_of_first", [None, 143])
def test_what_all_processes_meet_is_told_where_the_first_one_is_ended_before_it_tells(
    ending: Any, code_of_first: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        assert ended(1, monkeypatch) == ""
        if code_of_first is not None:
            leave_exit_code(code_of_first, rank=0)

    assert ending(1, 2, fail) == 2
    assert capsys.readouterr().err == "error: train.batch: must be 1 or more\n"


def test_what_all_processes_meet_is_told_once(
    ending: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    assert ending(1, 2, lambda: told.extend(ended(rank, monkeypatch) for rank in (1, 0))) == 2
    assert told == ["", "error: train.batch: must be 1 or more\n"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("first", [0, 1, 2])
def test_why_one_process_has_ended_is_told_where_the_others_have_lost_it_in_the_same_moment(
    ending: Any, first: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    errors = [RunError(LOST), RunError("a file: cannot be read"), RunError(LOST)]
    assert ending(first, 3, lambda: told.extend(ended(rank, monkeypatch, errors[rank]) for rank in (1, 0, 2))) == 3
    assert told == ["", f"error: {LOST}\n", ""]
    assert capsys.readouterr().err == "error: a file: cannot be read\n"


def test_a_loss_whose_cause_none_tells_is_told_where_the_first_process_does_not(
    ending: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(1, 3, lambda: ended(1, monkeypatch, RunError(LOST))) == 3
    assert capsys.readouterr().err == f"error: {LOST}\n"


def test_a_process_that_ends_without_a_word_is_named(ending: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(1, 7) == 7
    assert capsys.readouterr().err == "error: process 1 has ended with exit code 7, and does not say why\n"


def test_after_a_killed_process_the_whole_command_that_goes_on_is_told(
    ending: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(1, -9) == 137
    assert capsys.readouterr().err == (
        "error: process 1 was killed by SIGKILL; go on with: zoo train --recipe 'my recipe.yaml' --procs 2 --resume\n"
    )


def test_a_process_that_another_one_killed_is_told_of_by_that_one(
    ending: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(1, -9, lambda: leave_exit_code(3, rank=1)) == 3
    assert capsys.readouterr().err == ""


def test_too_few_open_files_are_told_before_anything_starts(ending: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer than these PyTorch's launcher waits for ever."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (26, 1024))
    with pytest.raises(RunError) as caught:
        ending(0, 1)
    assert str(caught.value) == (
        "several processes need at least 64 open files, and may have 26: raise that by `ulimit -n 64`"
    )


@pytest.mark.parametrize(
    ("first", "words"), [("/venv/bin", ("-P", "-m", "zoo")), ("", ("-m", "zoo")), (None, ("-m", "zoo"))]
)
@pytest.mark.usefixtures("ending")
def test_processes_look_for_packages_where_the_first_one_does(monkeypatch, first, words):
    asked = []
    monkeypatch.setattr(launching.sys, "path", [os.getcwd() if first is None else first, *sys.path])
    monkeypatch.setattr(launching, "elastic_launch", lambda *_: lambda *arguments: asked.append(arguments))
    assert launch(ARGUMENTS, 2) == 0
    assert asked == [(*words, *ARGUMENTS)]
