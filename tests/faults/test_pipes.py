"""Output that nobody reads, and output that cannot be written: in files and pipes of the system's own."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from tests.distributed.ranks import SERVER, TIMEOUT
from tests.train.small import VALUES
from zoo import cli, signals
from zoo.cli import main
from zoo.cli.output import NO_READER, Unread, _guarded
from zoo.errors import OutputError
from zoo.runs import checkpoint as checkpoints
from zoo.train.trainer import Trainer

UNREAD = "a pipe whose reader has ended"
FULL = "/dev/full"
CLOSED = "no file at all"

needs_full = pytest.mark.skipif(not Path(FULL).exists(), reason="needs /dev/full")


def put_in_place(number: int, where: str) -> None:
    if where == CLOSED:
        os.close(number)
    elif where == UNREAD:
        reader, writer = os.pipe()
        os.dup2(writer, number)
        os.close(reader)
        os.close(writer)
    else:
        os.dup2(os.open(where, os.O_WRONLY | os.O_CREAT, 0o600), number)


def run(words: tuple[str, ...], folder: Path, out: str, err: str, before: bytes) -> None:
    os.chdir(folder)
    for number, where in ((1, out), (2, err)):
        put_in_place(number, where)
    # As the interpreter finds them.
    sys.stdout = None if out == CLOSED else os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = None if err == CLOSED else os.fdopen(2, "w", encoding="utf-8", buffering=1)
    sys.argv[:] = ["zoo", *words]
    cloudpickle.loads(before)()
    main()


def zoo(
    *words: str, folder: Path, out: str = "out", err: str = "err", before: Callable[[], object] = lambda: None
) -> int | None:
    """The exit code of a command in a process of its own, whose output goes to such places."""
    process = SERVER.Process(target=run, args=(words, folder, out, err, cloudpickle.dumps(before)))
    process.start()
    process.join(TIMEOUT)
    return process.exitcode


def train(folder: Path, **places: Any) -> int | None:
    (folder / "small.yaml").write_text(json.dumps(VALUES))
    return zoo("train", "--recipe", "small.yaml", "--run-dir", "run", folder=folder, **places)


def last_step(folder: Path) -> int:
    newest, problems = checkpoints.latest(folder / "run" / "checkpoints")
    assert newest is not None
    assert not problems
    return newest.step


@pytest.mark.parametrize(
    ("out", "err"),
    [
        ("out", UNREAD),  # zoo train 2> >(head)
        (UNREAD, UNREAD),  # zoo train 2>&1 | head
        pytest.param("out", FULL, marks=needs_full),  # a log file on a full disk
        (CLOSED, CLOSED),  # zoo train >&- 2>&-
    ],
)
def test_training_goes_on_when_nobody_reads_what_it_says(tmp_path: Path, out: str, err: str) -> None:
    assert train(tmp_path, out=out, err=err) == 0
    assert last_step(tmp_path) == 3
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_run_that_nobody_reads_is_stopped_as_any_other(tmp_path: Path) -> None:
    def signalled() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        plain = Trainer._clip

        def clip(self: Trainer) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return plain(self)

        Trainer._clip = clip  # type: ignore[method-assign]

    assert train(tmp_path, err=UNREAD, before=signalled) == 75
    assert last_step(tmp_path) == 1


def test_an_error_that_nobody_reads_keeps_its_exit_code(tmp_path: Path) -> None:
    assert zoo("train", "--recipe", "nonsense", folder=tmp_path, err=UNREAD) == 2


@pytest.mark.parametrize(
    "words", [("build", "--recipe", "digits_dit"), ("parts",), ("schema",), ("recipes",), ("train", "--help")]
)
def test_what_was_read_enough_of_has_succeeded(tmp_path: Path, words: tuple[str, ...]) -> None:
    """``zoo build --flops | head -1``, also in a script with pipefail."""
    assert zoo(*words, folder=tmp_path, out=UNREAD) == 0
    assert (tmp_path / "err").read_text() == ""


@needs_full
@pytest.mark.parametrize("words", [("schema",), ("parts", "--json")])  # more than a buffer's, and less
def test_what_was_asked_for_and_cannot_be_written_is_an_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    """``zoo schema > file`` on a full disk must not seem to have succeeded."""
    assert zoo(*words, folder=tmp_path, out=FULL) == 3
    assert (tmp_path / "err").read_text() == "error: the output cannot be written: No space left on device\n"


def unread(only: tuple[int, ...] | None) -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return io.TextIOWrapper(io.BufferedWriter(Unread(io.FileIO(writer, "w"), only)), "utf-8", line_buffering=True)


@pytest.mark.parametrize("only", [NO_READER, None])
def test_what_nobody_reads_is_dropped(only: tuple[int, ...] | None) -> None:
    stream = unread(only)
    for _ in range(3):
        print("x" * 100_000, file=stream, flush=True)
    assert not stream.isatty()


def test_other_errors_are_told_once() -> None:
    stream = unread(())
    with pytest.raises(OutputError, match="the output cannot be written: Broken pipe"):
        print("x", file=stream)
    print("y", file=stream)


def test_what_is_read_arrives() -> None:
    reader, writer = os.pipe()
    stream = io.TextIOWrapper(io.BufferedWriter(Unread(io.FileIO(writer, "w"))), "utf-8", line_buffering=True)
    print("as it is: \N{GREEK SMALL LETTER ALPHA}", file=stream)
    assert os.read(reader, 100).decode() == "as it is: \N{GREEK SMALL LETTER ALPHA}\n"
    os.close(reader)


def test_lines_arrive_at_once_where_python_is_unbuffered() -> None:
    """As in many containers, by PYTHONUNBUFFERED: the stream has no buffer then, and is told to hold back nothing."""
    reader, writer = os.pipe()
    unbuffered = io.TextIOWrapper(io.FileIO(writer, "w"), "utf-8", write_through=True)
    print("$ zoo build", file=_guarded(unbuffered, None))
    os.set_blocking(reader, False)
    assert os.read(reader, 100) == b"$ zoo build\n"
    os.close(reader)


def in_the_foreground(work: Callable[[], object]) -> Callable[[], object]:
    """The command does ``work``, and Ctrl-C is as ``import zoo`` leaves it there."""

    def before() -> None:
        signal.signal(signal.SIGINT, signals._end)
        cli.app = lambda **_: work()

    return before


def test_a_second_ctrl_c_ends_what_takes_no_notice_of_the_first(tmp_path: Path) -> None:
    def deaf() -> None:
        for _ in range(2):
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

    assert zoo(folder=tmp_path, before=in_the_foreground(deaf)) == 130
    assert (tmp_path / "err").read_text() == "interrupted\n"


def test_ctrl_c_while_torch_is_half_imported_ends_the_command_before_torch_can_abort_it(tmp_path: Path) -> None:
    def half_imported() -> None:
        sys.modules["torch.half"] = half = ModuleType("torch.half")
        half.__spec__ = ModuleSpec("torch.half", None)
        half.__spec__._initializing = True
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            os.abort()

    assert zoo(folder=tmp_path, before=in_the_foreground(half_imported)) == 130
    assert (tmp_path / "err").read_text() == "interrupted\n"


def test_ctrl_c_is_told_where_a_library_makes_another_error_of_it(tmp_path: Path) -> None:
    def recursion(*_: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise RecursionError("maximum recursion depth exceeded") from None

    def before() -> None:
        signal.signal(signal.SIGINT, signals._end)
        sys.modules["zoo.cli.recipes"].list_recipes = recursion

    assert zoo("recipes", folder=tmp_path, before=before) == 130
    assert (tmp_path / "err").read_text() == "interrupted\n"


def test_ctrl_c_once_all_is_done_changes_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cli.see_to_the_end = lambda *_: os.kill(os.getpid(), signal.SIGINT)

    assert zoo("--version", folder=tmp_path, before=interrupted) == 0
    assert (tmp_path / "out").read_text().startswith("zoo ")
    assert (tmp_path / "err").read_text() == ""


def test_what_is_read_late_arrives_where_another_program_has_made_the_pipe_non_blocking(monkeypatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    stream = io.TextIOWrapper(io.BufferedWriter(Unread(io.FileIO(writer, "w"))), "utf-8", line_buffering=True)
    read = []
    monkeypatch.setattr("zoo.cli.output.select.select", lambda *_: read.append(os.read(reader, 1 << 20)))
    print("error: why", file=stream)
    assert (len(read), os.read(reader, 100)) == (1, b"error: why\n")
    os.close(reader)
