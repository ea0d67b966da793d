"""Runs of zoo that come to harm, and how they are judged; used by faults.py.

Where a command line is not the point, ``zoo`` runs in a process forked from a server that has imported everything:
0.1 s, where Python and torch take 3.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = 40
SMALL = (
    *("backbone.dim=16", "backbone.heads=2", "train.batch=8", "train.log_every=1", f"train.steps={STEPS}"),
    *("train.checkpoint_every=5", "sample.steps=2", "sample.batch=8"),
)
"""What makes digits_hybrid a run of seconds."""

MARK = "ZOO_FAULTS"
"""An environment variable by which the processes of a run are known."""

DEADLINE = 180.0
"""Seconds after which a command that has not ended is said to hang."""

TIDY = 15.0
"""Seconds in which the processes of a run that has ended go away; PyTorch's data workers look every 5."""

SERVER = multiprocessing.get_context("forkserver")
PRELOADED = [
    *("faults_runs", "zoo.cli", "zoo.train.run"),
    *("matplotlib.pyplot", "sklearn.datasets", "torch._dynamo.repro.after_dynamo"),  # which are imported late
]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative for a signal, None where it had not ended in time.
        err: what it wrote to stderr.
        left: processes of it that did not go away.
    """

    code: int | None
    err: str
    left: tuple[int, ...] = ()

    @property
    def told(self) -> str:
        """The last line that is an error, or that it stopped."""
        lines = [line for line in self.err.splitlines() if line.startswith(("error: ", "stopped: "))]
        return lines[-1] if lines else ""

    def problems(self, *codes: int) -> list[str]:
        """What breaks the law: the exit code, one line, no traceback, and nobody left behind."""
        found = []
        if self.code not in codes:
            found.append(f"exit code {self.code} in place of {' or '.join(map(str, codes))}: {self.err[-300:]!r}")
        if "Traceback" in self.err:
            found.append(f"a traceback: {self.err[-300:]!r}")
        told = sum(line.startswith(("error: ", "stopped: ")) for line in self.err.splitlines())
        if self.code in (2, 3, 5, 75) and told != 1:
            found.append(f"{told} lines of error in place of one: {self.err[-300:]!r}")
        if self.left:
            found.append(f"processes were left behind: {self.left}")
        return found


@dataclass
class Job:
    """A command of its own, in a process group of its own."""

    process: subprocess.Popen[bytes]
    err: Path
    mark: str

    def end(self, deadline: float = DEADLINE) -> Ended:
        """Wait for it and for all of its processes, and end what is left of them."""
        code: int | None
        try:
            code = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            code = None
        until = time.monotonic() + TIDY
        while (left := self.processes()) and code is not None and time.monotonic() < until:
            time.sleep(0.1)
        for pid in left:
            kill(pid, signal.SIGKILL)
        self.process.wait()
        said = self.err.read_text(encoding="utf-8", errors="replace")
        self.err.unlink()
        return Ended(code, said, tuple(left))

    def processes(self) -> list[int]:
        """Every process that has inherited the mark, and is no zombie."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdecimal():
                try:
                    if wanted in (path / "environ").read_bytes().split(b"\0"):
                        found.append(int(path.name))
                except OSError:
                    continue
        return found

    def rank(self, number: int) -> int:
        """The process of a rank, the oldest of those that have its environment: data workers have it too."""
        wanted = f"RANK={number}".encode()
        return min(pid for pid in self.processes() if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))

    def children(self, *parents: int) -> list[int]:
        """Those of them that processes have started, such as data workers."""
        return sorted(pid for pid in self.processes() if _parent(pid) in parents)


def start(*words: str | Path, prefix: Sequence[str] = (), launcher: Sequence[str] = (), **environment: str) -> Job:
    """Begin ``zoo WORDS``, by ``prefix`` such as nohup, and by a launcher such as torchrun."""
    mark = uuid.uuid4().hex
    command = [*prefix, sys.executable, *launcher, "-m", "zoo", *map(str, words)]
    handle, name = tempfile.mkstemp(prefix="zoo-faults-", suffix=".err")
    with os.fdopen(handle, "wb") as err:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", MARK: mark, **environment},
        )
    return Job(process, Path(name), mark)


def forked(*words: str | Path, harm: Callable[[], None] | None = None) -> Ended:
    """``zoo WORDS`` in a forked process, in which ``harm`` is called before."""
    SERVER.set_forkserver_preload(PRELOADED)  # here, since a process has one server: that of the tests is another's
    with tempfile.TemporaryDirectory() as folder:
        err = Path(folder, "err")
        process = SERVER.Process(target=_run, args=(tuple(map(str, words)), err, harm))
        process.start()
        process.join(DEADLINE)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
        return Ended(code, err.read_text(encoding="utf-8", errors="replace") if err.exists() else "")


def _run(words: Sequence[str], err: Path, harm: Callable[[], None] | None) -> None:
    import torch

    from zoo.cli import main

    torch.set_num_threads(1)
    sys.argv[:] = ["zoo", *words]
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end
    if harm is not None:
        harm()
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stderr.flush()
    os._exit(code)


@dataclass(frozen=True)
class AtWrite:
    """Harm at the N-th point at which something of a folder is opened to be written, moved, removed or synchronised.

    Attributes:
        folder: whose files count.
        number: the point, from 0 on; -1 to do no harm.
        log: a file that takes a line for every point.
        full: whether the disk is full from there on until the process ends; or it is killed there.
    """

    folder: Path
    number: int
    log: Path
    full: bool = False

    def __call__(self) -> None:
        """Begin to count."""
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        count = 0

        def point(path: Any, what: str) -> None:
            nonlocal count
            name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
            if str(self.folder) not in name:
                return
            os.write(log, f"{what} {name}\n".encode())
            count += 1
            if count - 1 == self.number and not self.full:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.full and 0 <= self.number < count and what != "remove":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
                point(arguments[0], "open")
            elif event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
                kind = "remove" if event in ("os.remove", "os.rmdir") else event.removeprefix("os.")
                point(arguments[0], kind)

        fsync = os.fsync

        def synchronised(descriptor: int) -> None:
            point(os.readlink(f"/proc/self/fd/{descriptor}"), "fsync")
            fsync(descriptor)

        os.fsync = synchronised
        sys.addaudithook(hook)


def train(run: Path, *overrides: str, resume: bool = False, procs: int = 1) -> list[str]:
    """The words of ``zoo train``."""
    if resume:
        return ["train", "--resume", "--run-dir", str(run), "--procs", str(procs)]
    given = [word for each in (*SMALL, *overrides) for word in ("--set", each)]
    return ["train", "--recipe", "digits_hybrid", *given, "--run-dir", str(run), "--procs", str(procs)]


def steps_done(run: Path) -> int:
    """Lines of the metrics."""
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def wait_for(what: Callable[[], Any], job: Job, deadline: float = DEADLINE) -> bool:
    """Wait until something holds; whether it came to that while the job lived."""
    until = time.monotonic() + deadline
    while not what():
        if job.process.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
