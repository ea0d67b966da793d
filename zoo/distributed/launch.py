"""Several processes on one machine, through PyTorch's elastic launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from zoo.distributed.failures import LOST
from zoo.errors import RunError
from zoo.files import write_whole
from zoo.open_files import refuse_few
from zoo.shell import command
from zoo.signals import handled, ignored, stop_signals

EXIT_CODES = "ZOO_EXIT_CODES"
"""The environment variable that names the folder for exit codes."""

# Older versions of PyTorch insist on handlers of their own: of SIGHUP under nohup too, and not of SIGUSR1.
_WITHOUT_HANDLERS: dict[str, Any] = (
    {"signals_to_handle": ""} if "signals_to_handle" in LaunchConfig.__dataclass_fields__ else {}
)

GRACE = 24 * 3600  # seconds that processes which have been asked to stop may take to finish their step and save


def launch(arguments: Sequence[str], procs: int) -> int:
    """Run ``python -m zoo ARGUMENTS`` in several processes, and wait for them.

    Args:
        arguments: of the command.
        procs: number of processes.

    Returns:
        The exit code of the process that ended first with one that is not 0, or 0; after a signal the largest, or
        that of the signal if not all processes ended by themselves. PyTorch's ``torchrun`` makes a 1 of all but 0.

    Raises:
        RunError: there may be too few open files.
    """
    refuse_few("several processes", RunError)
    logging.disable(logging.CRITICAL)  # the processes tell what is wrong
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // procs)))
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(GRACE)
    with TemporaryDirectory() as folder, _first_signal_raised():
        os.environ[EXIT_CODES] = folder
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=procs,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(folder, "logs"))),  # PyTorch would leave one behind
            **_WITHOUT_HANDLERS,
        )
        try:
            elastic_launch(config, sys.executable)(*_same_path(), "-m", "zoo", *arguments)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            return _first_failed(Path(folder), rank, failure.exitcode, arguments)
        except SignalException as error:  # which does not say how the processes ended
            codes = _exit_codes(Path(folder))
            return max(codes.values()) if len(codes) == procs else 128 + error.sigval
        return 0


def _same_path() -> tuple[str, ...]:
    """What keeps ``python -m`` from looking into the working folder first, unless this process does so, too."""
    return () if sys.path[:1] in ([""], [os.getcwd()]) else ("-P",)


def leave_exit_code(code: int, rank: int | None = None) -> None:
    """Tell the launcher how this process ends, or another one that this one ends; if it cannot be told, never mind."""
    if EXIT_CODES in os.environ:
        name = os.environ["RANK"] if rank is None else str(rank)
        with suppress(RunError):  # a disk that is full, or the folder is gone; the process has to end all the same
            write_whole(Path(os.environ[EXIT_CODES], name), str(code), RunError)


def leave_words(text: str) -> None:
    """Let the launcher tell why this process ends, unless the first one, which tells by itself, has told the same."""
    if EXIT_CODES in os.environ:
        with suppress(RunError):
            write_whole(Path(os.environ[EXIT_CODES], f"words-{os.environ['RANK']}"), text, RunError)


def _words(folder: Path) -> dict[int, str]:
    """Why processes have ended, by rank."""
    return {int(path.name.removeprefix("words-")): path.read_text("utf-8") for path in folder.glob("words-*")}


def _exit_codes(folder: Path) -> dict[int, int]:
    """What processes have left, by rank."""
    return {int(path.name): int(path.read_text()) for path in folder.glob("[0-9]*")}


def _first_failed(folder: Path, rank: int, exit_code: int, arguments: Sequence[str]) -> int:
    """The exit code of a job of which this process was the first to end; tells why, where no process has.

    PyTorch's agent ends the others at once, maybe before the one that tells what all meet has done so.
    """
    codes = _exit_codes(folder)
    if exit_code < 0 and rank not in codes:
        name = signal.Signals(-exit_code).name
        again = command("zoo", *arguments, *(() if "--resume" in arguments else ("--resume",)))
        _tell(f"error: process {rank} was killed by {name}; go on with: {again}")
        return 128 - exit_code
    code, words = codes.get(rank, exit_code), _words(folder)
    causes = [words[each] for each in sorted(words) if LOST not in words[each]]
    consequence = [words[rank]] if rank in words else []
    for text in dict.fromkeys(causes or consequence):
        if text != words.get(0):
            _tell(text)
    if rank not in codes and rank not in words:
        _tell(f"error: process {rank} has ended with exit code {code}, and does not say why")
    return code


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


@contextmanager
def _first_signal_raised() -> Iterator[None]:
    """Have a signal raise what makes PyTorch's agent pass it on, and wait for the processes to save.

    Later ones are left alone: they would break off that wait, or take the exit code from a job that has saved.
    """
    asked = False

    def handle(number: int, frame: object) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise SignalException(f"the launcher got signal {number}", signal.Signals(number))

    signals = stop_signals()
    with handled(signals, handle):
        yield
    if asked:
        ignored(signals)
