"""Runs in a mount namespace of their own: full file systems, and those that may not be written."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from faults_judged import Ground, Outcome, newest
from faults_runs import kill, start, steps_done, train, wait_for

NEEDS = "needs root, unshare -m and the right to mount"


def full_shared_memory(ground: Ground) -> Outcome:
    """Data workers where /dev/shm has 64 kB."""
    return _in_own_mounts(ground, "shm", "mount -t tmpfs -o size=64k tmpfs /dev/shm", (0, 2, 3, 75), "data.workers=2")


def full_file_system(ground: Ground) -> Outcome:
    """A run on a file system of some kB to MB, that goes on where there is room."""
    outcome = Outcome()
    for size in (16, 512, 2300, 3072, 4500, 6600):
        place = ground.folder / f"mount-{size}"
        place.mkdir()
        mount = f"mount -t tmpfs -o size={size}k tmpfs {place}"
        one = _in_own_mounts(ground, f"tmpfs-{size}", mount, (0, 3, 75), place=place)
        if one.skipped:
            return one
        outcome.tried, outcome.held = outcome.tried + one.tried, outcome.held + one.held
        outcome.problems += [f"{size} kB: {each}" for each in one.problems]
        outcome.told |= one.told
    return outcome


def _in_own_mounts(
    ground: Ground, name: str, mount: str, codes: tuple[int, ...], *overrides: str, place: Path | None = None
) -> Outcome:
    """Train in a mount namespace of its own; then with room, and judge."""
    outcome = Outcome()
    if not _has_mounts():
        outcome.skipped = NEEDS
        return outcome
    run = (place or ground.folder) / f"run-{name}"
    kept = ground.folder / f"kept-run-{name}"
    keep = f"cp -a {run} {kept} 2>/dev/null; " if place else ""
    script = f'{mount} || exit 1; "$@"; code=$?; {keep}exit $code'
    ended = start(*train(run, *overrides), prefix=["unshare", "-m", "sh", "-c", script, "sh"]).end(120)
    if ended.code == 1 and "mount" in ended.err:
        outcome.skipped = NEEDS
        return outcome
    problems = ended.problems(*codes)
    if not place:
        problems += ground.go_on(run)
    elif kept.exists():
        problems += ground.go_on(kept)
    outcome.add(problems, ended)
    return outcome


def _has_mounts() -> bool:
    return os.geteuid() == 0 and shutil.which("unshare") is not None


def read_only(ground: Ground) -> Outcome:
    """Going on in a run folder in which nothing may be written."""
    outcome = Outcome()
    if not _has_mounts():
        outcome.skipped = NEEDS
        return outcome
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" || exit 1; "$@"'
    run = ground.folder / "run-read-only"
    job = start(*train(run))
    wait_for(lambda: steps_done(run) >= 6, job)
    kill(job.process.pid, signal.SIGTERM)
    job.end()
    before = newest(run)
    ended = start(*train(run, resume=True), prefix=["unshare", "-m", "sh", "-c", script, str(run)]).end(60)
    if ended.code == 1 and "mount" in ended.err:
        outcome.skipped = NEEDS
        return outcome
    problems = ended.problems(3) + (["a checkpoint has changed"] if newest(run) != before else []) + ground.go_on(run)
    outcome.add(problems, ended)
    return outcome
