"""A run that stays below a third of its best speed, or waits for cores, for 30 s is told of, once; nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import repeat

import pytest

from zoo.cli import slowness
from zoo.cli.slowness import POLICY, SPINS, SlownessWatch, times_of_threads, wait_asleep

FAST = [*repeat(0.5, 40)]
"""Seconds of steps of ten images: 20 images/s."""


def told(seconds: list[float], waiting: float = 0.0) -> list[tuple[int, str]]:
    """At which seconds a run of such steps tells what, of two threads that wait for such a share of their time."""
    now = 0.0
    watch = SlownessWatch(10, lambda: now, lambda: (2 * now * (1 - waiting), 2 * now * waiting))
    found = []
    for each in seconds:
        now += each
        text = watch.step()
        if text is not None:
            found.append((round(now), text))
    return found


@pytest.mark.parametrize(
    "seconds",
    [
        [*FAST, *repeat(1.4, 100)],  # slower, by less than a third
        [*FAST, *repeat(4.0, 7), *FAST, *repeat(4.0, 7), *FAST],  # not for 30 s at a time
        [*FAST, 300.0, *FAST],  # a single step: pictures are drawn
        [*FAST, 0.001, *FAST],  # a single fast step is no best speed
        [*repeat(100.0, 20)],  # as slow from the start
    ],
    ids=["slower", "short", "pictures", "fast step", "slow from the start"],
)
def test_nothing_is_told(seconds: list[float]) -> None:
    assert told(seconds) == []


def test_it_is_told_once_when_30_seconds_are_over() -> None:
    found = told([*FAST, *repeat(4.0, 30), *FAST, *repeat(4.0, 30)])
    assert [second for second, _ in found] == [20 + 4 + 32]
    assert found[0][1].startswith("note: 2.5 images/s, for 30 s less than a third of this run's best (20): ")


def test_steps_longer_than_that_count_from_the_end_of_the_first() -> None:
    assert [second for second, _ in told([*FAST, *repeat(40.0, 5)])] == [20 + 40 + 40]


def test_a_run_on_crowded_cores_is_told_once_from_the_start_on() -> None:
    assert told([*repeat(0.5, 200)], waiting=0.4) == []
    found = told([*repeat(2.0, 100)], waiting=0.75)
    assert [second for second, _ in found] == [30]
    assert found[0][1].startswith("note: for 30 s threads have waited for a core 75% of their time: ")


def test_the_time_that_threads_wait_is_the_sum_of_all_that_linux_tells(tmp_path, monkeypatch) -> None:
    for thread, text in (("1", "7000000000 1500000000 9\n"), ("2", "1 500000000 9\n"), ("3", "")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text)
    for tasks, waited in ((tmp_path, 2.0), (tmp_path / "none", 0.0)):
        monkeypatch.setattr(slowness, "TASKS", tasks)
        assert times_of_threads()[1] == waited


@pytest.mark.parametrize(("given", "spins"), [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({POLICY: "ACTIVE"}, None)])
def test_threads_wait_asleep_unless_a_user_has_said_how(given, spins):
    environment = dict(given)
    wait_asleep(environment)
    assert environment.get("GOMP_SPINCOUNT") == spins
    assert environment.get(POLICY) == given.get(POLICY)


def test_the_command_says_so_before_pytorch_is_imported():
    code = (
        "import os, sys\nfrom zoo.cli import main\nassert 'torch' not in sys.modules\n"
        "try:\n    main()\nexcept SystemExit:\n    print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    plain = {name: each for name, each in os.environ.items() if name not in (POLICY, "GOMP_SPINCOUNT")}
    call = [sys.executable, "-c", code, "--version"]
    told = subprocess.run(call, env=plain, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[-1] == SPINS
