"""What harm the campaign does to runs, and the law of each."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allpairspy import AllPairs
from faults_judged import Ground, Outcome, differences, newest
from faults_mounts import full_file_system, full_shared_memory, read_only
from faults_runs import STEPS, AtWrite, Ended, Job, forked, kill, start, steps_done, train, wait_for
from faults_soak import soak

SIDE_BY_SIDE = 2
"""Jobs at once."""

SHORT = ("train.steps=2", "train.checkpoint_every=1", "train.keep_last=1")
"""Two checkpoints, the first of which is removed."""


def crash_at_every_write(ground: Ground) -> Outcome:
    """kill -9 at every point at which a run of two checkpoints writes, moves, removes or synchronises a file."""
    return _at_every_write(ground, full=False)


def full_disk_at_every_write(ground: Ground) -> Outcome:
    """No space from every such point on; then there is space again."""
    return _at_every_write(ground, full=True)


def _at_every_write(ground: Ground, *, full: bool) -> Outcome:
    kind = "full" if full else "crash"
    log = ground.folder / f"{kind}.log"
    run = ground.folder / f"run-{kind}-points"
    forked(*train(run, *SHORT), harm=AtWrite(run, -1, log))
    points = log.read_text(encoding="utf-8").splitlines()
    ground.whole(1, *SHORT)
    outcome = Outcome()

    def one(number: int) -> tuple[Ended, list[str]]:
        run = ground.folder / f"run-{kind}-{number}"
        ended = forked(*train(run, *SHORT), harm=AtWrite(run, number, log.with_suffix(".of"), full=full))
        problems = ended.problems(0, 3, 75) if full else [] if ended.code == -signal.SIGKILL else ["was not killed"]
        problems += ground.go_on(run, *SHORT)
        if not problems:
            shutil.rmtree(run)
        return ended, problems

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for point, (ended, problems) in zip(points, pool.map(one, range(len(points))), strict=True):
            outcome.add(problems, ended, what=point)
    return outcome


def signals(ground: Ground) -> Outcome:
    """TERM, HUP, USR1 and INT: 1 or 2 processes, 0 or 2 workers, plain or by nohup; resumed to the end."""
    numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT]
    rows = list(AllPairs([numbers, [1, 2], [0, 2], [False, True]]))
    chosen = ground.random()
    wanted = []
    for number in numbers:
        own = itertools.cycle([row for row in rows if row[0] == number])
        wanted += [(*next(own), chosen.randint(1, 8)) for _ in range(ground.rounds)]
    for procs in (1, 2):
        ground.whole(procs)
    outcome = Outcome()

    def one(index: int) -> tuple[Ended, list[str], str]:
        number, procs, workers, nohup, step = wanted[index]
        run = ground.folder / f"run-signals-{index}"
        prefix = ["nohup"] if nohup else []
        job = start(*train(run, f"data.workers={workers}", procs=procs), prefix=prefix)
        wait_for(lambda: steps_done(run) >= step, job)
        if nohup and number == signal.SIGHUP:
            kill(job.process.pid, number)
            went_on = wait_for(lambda: steps_done(run) >= step + 3, job)
            problems = [] if went_on else ["nohup did not keep SIGHUP from it"]
            kill(job.process.pid, signal.SIGTERM)
        else:
            problems = []
            kill(job.process.pid, number)
        ended = job.end()
        problems += ended.problems(75)
        problems += ground.go_on(run, procs=procs)
        words = f"{number.name}, {procs} processes, {workers} workers{', nohup' if nohup else ''}, step {step}"
        return ended, problems, words

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for ended, problems, words in pool.map(one, range(len(wanted))):
            outcome.add(problems, ended, what=words)
    return outcome


def killed_rank(ground: Ground) -> Outcome:
    """kill -9 of a random one of two processes under torchrun --max-restarts, which starts them again."""
    chosen = ground.random()
    wanted = [(chosen.randint(0, 1), chosen.randint(1, STEPS // 2)) for _ in range(ground.rounds)]
    whole = ground.whole(2)
    outcome = Outcome()
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=3", "--rdzv-backend=c10d",
                "--rdzv-endpoint=127.0.0.1:0"]  # fmt: skip

    def one(index: int) -> tuple[Ended, list[str]]:
        rank, step = wanted[index]
        run = ground.folder / f"run-killed-{index}"
        job = start(*train(run)[:-2], "--resume", launcher=launcher)
        problems = []
        if wait_for(lambda: steps_done(run) >= step, job):
            kill(job.rank(rank), signal.SIGKILL)
        else:
            problems.append("ended before it could be killed")
        ended = job.end()
        return ended, problems + ended.problems(0) + differences(newest(run)[1], whole)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for (rank, step), (ended, problems) in zip(wanted, pool.map(one, range(len(wanted))), strict=True):
            outcome.add(problems, ended, what=f"process {rank} at step {step}")
    return outcome


def stopped_rank(ground: Ground) -> Outcome:
    """SIGSTOP of one of two processes: until train.timeout, or until SIGTERM or Ctrl-C."""
    outcome = Outcome()
    for rank, number in itertools.product((0, 1), (None, signal.SIGTERM, signal.SIGINT)):
        run = ground.folder / f"run-stopped-{rank}-{number or 0}"
        limit = 5 if number is None else 600
        job = start(*train(run, f"train.timeout={limit}", procs=2))
        wait_for(lambda run=run: steps_done(run) >= 3, job)
        kill(job.rank(rank), signal.SIGSTOP)
        if number is not None:
            kill(job.process.pid, number)
        ended = job.end(60)
        problems = ended.problems(3 if number is None else 75) + ground.go_on(run, procs=2)
        outcome.add(problems, ended, what=f"process {rank}, {number.name if number else 'no signal'}")
    return outcome


def stopped_worker(ground: Ground) -> Outcome:
    """SIGSTOP of a data worker, then SIGTERM; and kill -9 of one."""
    outcome = Outcome()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        run = ground.folder / f"run-worker-{number}"
        job = start(*train(run, "data.workers=1"))
        wait_for(lambda run=run: steps_done(run) >= 3, job)
        for pid in job.children(job.process.pid):
            kill(pid, number)
        if number == signal.SIGSTOP:
            kill(job.process.pid, signal.SIGTERM)
        ended = job.end(60)
        problems = ended.problems(75 if number == signal.SIGSTOP else 3) + ground.go_on(run)
        outcome.add(problems, ended, what=number.name)
    return outcome


def folder_removed(ground: Ground) -> Outcome:
    """The run folder is removed while the run trains."""
    run = ground.folder / "run-removed"
    job = _until_saved(run)
    shutil.rmtree(run, ignore_errors=True)
    ended = job.end(60)
    outcome = Outcome()
    outcome.add(ended.problems(3, 75), ended)
    return outcome


def folder_taken(ground: Ground) -> Outcome:
    """The run folder is removed and another run begins in it: nothing of that one is touched."""
    run = ground.folder / "run-taken"
    job = _until_saved(run)
    aside = run.with_name("run-taken-aside")
    kill(job.process.pid, signal.SIGSTOP)  # or it would save into a folder of that name first
    run.rename(aside)
    other = forked(*train(run, *SHORT, "train.seed=1"))
    before = _contents(run)
    kill(job.process.pid, signal.SIGCONT)
    ended = job.end(60)
    problems = ended.problems(3, 75) + [f"the other run: {each}" for each in other.problems(0)]
    problems += ["the other run's folder was changed"] if _contents(run) != before else []
    outcome = Outcome()
    outcome.add(problems, ended)
    return outcome


def folder_copied(ground: Ground) -> Outcome:
    """A run folder is copied while the run trains, and both go on: each to the end, and by itself."""
    run, copy = ground.folder / "run-copied", ground.folder / "run-copy"
    job = start(*train(run))
    wait_for(lambda: steps_done(run) >= 7, job)
    kill(job.process.pid, signal.SIGSTOP)
    shutil.copytree(run, copy)
    kill(job.process.pid, signal.SIGCONT)
    problems = [f"copy: {each}" for each in ground.go_on(copy)]
    ended = job.end()
    problems += ended.problems(0) + differences(newest(run)[1], ground.whole())
    outcome = Outcome()
    outcome.add(problems, ended)
    return outcome


def closed_pipe(ground: Ground) -> Outcome:
    """Nobody reads what the run says any more: it trains on, to the end."""
    run = ground.folder / "run-pipe"
    outcome = Outcome()
    script = '{ "$@" 2>&1; echo $? >"$0"; } | head -n 1 >/dev/null'
    code = ground.folder / "pipe.code"
    job = start(*train(run), prefix=["sh", "-c", script, str(code)])
    ended = job.end()
    found = Ended(int(code.read_text()) if code.exists() else None, ended.err, ended.left)
    outcome.add(found.problems(0) + differences(newest(run)[1], ground.whole()), found)
    return outcome


def _until_saved(run: Path) -> Job:
    """A run without end that has written checkpoints."""
    job = start(*train(run, "train.steps=1000000"))
    wait_for(lambda: len(list((run / "checkpoints").glob("step_????????"))) >= 2, job)
    return job


def _contents(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fuzz(ground: Ground) -> Outcome:
    """Recipes, weights, pictures, latents, checkpoints and records with bytes changed: an error in words or nothing."""
    tests = Path(__file__).parents[1] / "tests" / "faults" / "test_fuzz.py"
    words = [*PYTEST, "-s", str(tests), f"--hypothesis-seed={ground.seed}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tests.parents[2])
    counts = files_tried(done.stdout)
    outcome = Outcome(
        tried=sum(counts.values()), told={f"{name}: {count} files": None for name, count in counts.items()}
    )
    outcome.problems += [] if done.returncode == 0 and counts else [done.stdout[-500:]]
    outcome.held = 0 if outcome.problems else outcome.tried
    return outcome


def files_tried(printed: str) -> dict[str, int]:
    """How many files of each format the tests say that they have changed."""
    found = re.search(r"files tried: (.*)", printed)
    each = (name.rpartition(" ") for name in found[1].split(", ")) if found else ()
    return {name: int(count) for name, _, count in each}


PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


@dataclass(frozen=True)
class Case:
    """A kind of harm.

    Attributes:
        what: in words.
        do: does it, and judges.
        minutes: that it takes on two cores, at 20 rounds.
    """

    what: str
    do: Callable[..., Outcome]
    minutes: float


def _case(do: Callable[..., Any], minutes: float) -> Case:
    return Case((do.__doc__ or "").splitlines()[0].rstrip("."), do, minutes)


CASES = {
    "crash": _case(crash_at_every_write, 5),
    "full-at-every-write": _case(full_disk_at_every_write, 5),
    "kill": _case(killed_rank, 6),
    "signals": _case(signals, 14),
    "stopped-rank": _case(stopped_rank, 3),
    "stopped-worker": _case(stopped_worker, 1),
    "shm": _case(full_shared_memory, 1),
    "full-disk": _case(full_file_system, 1),
    "read-only": _case(read_only, 1),
    "removed": _case(folder_removed, 1),
    "taken": _case(folder_taken, 1),
    "copied": _case(folder_copied, 1),
    "pipe": _case(closed_pipe, 1),
    "fuzz": _case(fuzz, 2),
    "soak": _case(soak, 45),
}
"""By name, in the order in which they are tried."""
