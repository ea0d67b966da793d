"""The soak: one run that comes to random harm for long, life after life, and what its processes hold.

A life is from a start of ``zoo train`` to its end. In it processes are stopped for moments, and folders stand in the
way of files; it ends by a harsher fault, and the next life goes on with ``--resume``.
"""

from __future__ import annotations

import fnmatch
import os
import random
import re
import resource
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from faults_growth import YOUNG, Samples, Usage, grown_in_lives, middle, usage
from faults_judged import Ground, Outcome, differences, newest
from faults_runs import DEADLINE, Ended, Job, kill, start, steps_done, train, wait_for

from zoo.checkpoint_folders import checkpoints_in, said_state
from zoo.runs.metrics_file import read_metrics

KEPT = 2
"""Regular checkpoints of the run."""

CONSTANT = "train.schedule=constant"
"""The learning rate of a run without end is that of one that ends where the other had come to."""

OFTEN = (
    *("train.steps=100000000", "train.checkpoint_every=50", f"train.keep_last={KEPT}"),
    "train.callbacks=[{type: pictures, every: 50}]",
    *("data.workers=1", CONSTANT),
)
"""A run without end, all of whose parts have their turn within seconds."""

EVERY = 0.25
"""Seconds from sample to sample."""

FILES = ("recipe.yaml", "run.json", "metrics.jsonl", "checkpoints", "samples", "loss.png", ".lock")
"""In the folder of a run that has ended by itself."""

CACHES = "torchinductor_*"
"""Temporary files that PyTorch makes once for all."""


@dataclass(frozen=True)
class Ending:
    """A fault that ends a life.

    Attributes:
        what: in words.
        do: does it to a job whose processes are given by role.
        codes: the exit codes that are promised.
        killed: patterns of roles that are killed, and can remove nothing that is theirs.
        remains: patterns of temporary files that these leave.
        tidy: whether the run folder is left without unfinished files; the next life removes them otherwise.
    """

    what: str
    do: Callable[[Job, Mapping[str, int], random.Random], None]
    codes: tuple[int, ...]
    killed: str = ""
    remains: str = ""
    tidy: bool = True


def _ask(job: Job, roles: Mapping[str, int], chosen: random.Random) -> None:
    kill(job.process.pid, chosen.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT]))


def _kill_rank(job: Job, roles: Mapping[str, int], chosen: random.Random) -> None:
    kill(roles[f"process {chosen.randrange(2)}"], signal.SIGKILL)


def _kill_worker(job: Job, roles: Mapping[str, int], chosen: random.Random) -> None:
    kill(roles[f"data worker {chosen.randrange(2)}"], signal.SIGKILL)


def _kill_all(job: Job, roles: Mapping[str, int], chosen: random.Random) -> None:
    for pid in job.processes():
        kill(pid, signal.SIGKILL)


def _refuse_writing(job: Job, roles: Mapping[str, int], chosen: random.Random) -> None:
    """What a full disk does to checkpoints; lines of the output still have room."""
    with suppress(ProcessLookupError):
        resource.prlimit(roles["process 0"], resource.RLIMIT_FSIZE, (2**16, resource.RLIM_INFINITY))


ASKED = Ending("asked to stop", _ask, (75,))
ENDINGS = (
    ASKED,
    Ending("kill -9 of a process", _kill_rank, (75, 137), killed="process *", tidy=False),
    Ending("kill -9 of a data worker", _kill_worker, (3,), killed="data worker *", remains="pymp-*"),
    Ending("kill -9 of all", _kill_all, (-signal.SIGKILL,), killed="*", remains="*", tidy=False),
    Ending("no file may grow", _refuse_writing, (3,)),
)


@dataclass
class Life:
    """One of a run: its job, whose processes are looked at whenever time passes.

    Attributes:
        job: its command.
        run: the folder of the run.
        roles: its processes.
        samples: of what they hold, from when pictures and the curve are drawn: by then all is imported that it needs.
    """

    job: Job
    run: Path
    roles: Mapping[str, int]
    samples: dict[str, list[Usage]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._before = self._drawn()

    @property
    def ended(self) -> bool:
        """Whether there is nobody left to harm."""
        return self.job.process.poll() is not None

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        until = time.monotonic() + seconds
        while True:
            if self.samples or all(now > before for now, before in zip(self._drawn(), self._before, strict=True)):
                for role, pid in self.roles.items():
                    if (found := usage(pid)) is not None:
                        self.samples[role].append(found)
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, EVERY))

    def harm(self, chosen: random.Random) -> None:
        """Stop a process for a moment, or put a folder in the place of a file for one."""
        what = chosen.choice([*self.roles, "metrics.jsonl", "loss.png"])
        seconds = chosen.uniform(0.0, 2.0)
        if what in self.roles:
            with self._stopped(what):
                self.rest(seconds)
            return
        place, aside = self.run / what, self.run / f"{what}.aside"
        with self._stopped("process 0"):  # the one that writes; it might between two of these
            if place.exists():
                place.rename(aside)
            place.mkdir()
        self.rest(seconds)
        with self._stopped("process 0"):
            place.rmdir()
            if aside.exists():
                aside.rename(place)
        lines = steps_done(self.run)
        wait_for(lambda: steps_done(self.run) > lines, self.job)  # or what was kept for the file might end with it

    def _drawn(self) -> tuple[int, int]:
        """How many pictures there are, and when the curve was drawn: not where a folder was in the way of metrics."""
        curve = self.run / "loss.png"
        return len(_names(self.run / "samples")), curve.stat().st_mtime_ns if curve.is_file() else 0

    @contextmanager
    def _stopped(self, role: str) -> Iterator[None]:
        pid = self.roles[role]
        kill(pid, signal.SIGSTOP)
        wait_for(lambda: _state(pid) in "TZ", self.job)
        try:
            yield
        finally:
            kill(pid, signal.SIGCONT)

    def end(self, ending: Ending, chosen: random.Random, place: Path) -> tuple[Ended, list[str]]:
        """End it, and judge how: its words, and what is left in memory and in its folders."""
        if self.ended:
            ended = self.job.end()
            return ended, [f"ended by itself with {ended.code}: {ended.err[-300:]!r}"]
        ending.do(self.job, self.roles, chosen)
        ended = self.job.end()
        own = [str(pid) for role, pid in self.roles.items() if not fnmatch.fnmatch(role, ending.killed)]
        memory = [name for name in _names(Path("/dev/shm")) if name.split("_")[1:2] and name.split("_")[1] in own]  # noqa: S108
        left = [
            each for each in _names(place) if not any(fnmatch.fnmatch(each, kind) for kind in (ending.remains, CACHES))
        ]
        problems = [*ended.problems(*ending.codes), *(strays(self.run) if ending.tidy else ())]
        problems += [f"left in /dev/shm: {name}" for name in memory] + [f"left in TMPDIR: {name}" for name in left]
        return ended, problems


def strays(run: Path) -> Iterator[str]:
    """What is in the folder of a run that has ended by itself, and should not be."""
    yield from (f"left in the run folder: {name}" for name in sorted(_names(run) - {*FILES}))
    for folder in (run / "checkpoints", run / "samples"):
        names = sorted(name for name in _names(folder) if not re.fullmatch(r"step_\d{8}(\.png)?", name))
        yield from (f"left in {folder.name}: {name}" for name in names)
    regular = [not said_state(path).get("apart") for path in checkpoints_in(run / "checkpoints")]
    if sum(regular) > KEPT or (True in regular and not regular[0] and sum(regular) == KEPT):
        yield f"more checkpoints than are kept: {sorted(_names(run / 'checkpoints'))}"


def soak(ground: Ground, minutes: float) -> Outcome:
    """Random stops, refused files, kill -9 and resumes of two processes: flat in all they hold, right to the bit.

    Memory, threads, open files; what is left behind; a line of metrics for every step; the weights of a quiet run.
    """
    run, place, chosen, outcome = ground.folder / "run-soak", ground.folder / "tmp-soak", ground.random(), Outcome()
    end = time.monotonic() + 60 * minutes
    endings: list[Ending] = []
    lives: list[Samples] = []
    while time.monotonic() < end:
        endings = endings or chosen.sample(ENDINGS, len(ENDINGS))
        place.mkdir()
        before = newest(run)[0]
        job = start(*train(run, *OFTEN, resume=before > 0, procs=2), TMPDIR=str(place))
        # The first life is long enough to be compared with itself.
        seconds = max(10.0, 60 * minutes * (chosen.uniform(0.02, 0.1) if lives else 0.3))
        try:
            life = begun(job, run)
            until = min(end, time.monotonic() + seconds)
            while time.monotonic() < until and not life.ended:
                life.harm(chosen)
                life.rest(chosen.uniform(0.0, 2.0))
                outcome.add([])
            ending = endings.pop() if until < end else ASKED
            ended, problems = life.end(ending, chosen, place)
        finally:
            for pid in job.processes():  # of a tool that failed, or was stopped by Ctrl-C
                kill(pid, signal.SIGKILL)
        shutil.rmtree(place)
        outcome.add(problems, ended, what=f"life {len(lives)} from step {before}, {ending.what}")
        lives.append(life.samples)
    outcome.add(list(grown_in_lives(lives)))
    outcome.add([*metrics_amiss(run), *other_weights(ground, run, minutes)])
    outcome.told |= dict.fromkeys(_held(lives))
    return outcome


def begun(job: Job, run: Path) -> Life:
    """The life of a job, from when it trains.

    Raises:
        RuntimeError: it ends, or hangs, before.
    """
    if not wait_for(lambda: re.search(r"^step \d+/", job.err.read_text(), flags=re.MULTILINE), job):
        ended = job.end(0)
        raise RuntimeError(f"did not begin, exit code {ended.code}: {ended.err[-500:]!r}")
    ranks = {f"process {number}": job.rank(number) for number in range(2)}
    workers = {f"data worker {number}": job.children(pid)[0] for number, pid in enumerate(ranks.values())}
    return Life(job, run, {"launcher": job.process.pid, **ranks, **workers})


def _state(pid: int) -> str:
    """Its letter in /proc, Z for one that is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def metrics_amiss(run: Path) -> Iterator[str]:
    """Whether the metrics have lines of all steps up to the newest checkpoint, once each."""
    last = newest(run)[0]
    steps = [
        step for line in read_metrics(run / "metrics.jsonl") if (step := line["step"]) <= last
    ]  # others come again
    wanted = range(1, last + 1)
    if steps != [*wanted]:
        lacking = sorted({*wanted} - {*steps})
        yield f"of {len(wanted)} steps {len(steps)} have lines in metrics.jsonl; lacking (the first): {lacking[:5]}"


def other_weights(ground: Ground, run: Path, minutes: float) -> list[str]:
    """How the last checkpoint differs from that of a run to the same step that nobody harmed."""
    step, found = newest(run)
    whole = ground.folder / "whole-soak"
    quiet = (f"train.{key}={step}" for key in ("steps", "checkpoint_every", "log_every"))
    ended = start(*train(whole, *quiet, CONSTANT, procs=2)).end(DEADLINE + 60 * minutes)
    return [f"without harm: {each}" for each in ended.problems(0)] + differences(found, newest(whole)[1])


def _held(lives: Sequence[Samples]) -> Iterator[str]:
    """What processes held at the start of the first life and at the end of the last one that tell, in words."""
    for role in {role: None for life in lives for role in life}:
        samples = [each for life in lives if len(each := life.get(role, ())) >= YOUNG]
        if samples:
            first, last = middle(samples[0][:YOUNG]), middle(samples[-1][-YOUNG:])
            yield f"{role}: {first.words} at the start, {last.words} at the end"
