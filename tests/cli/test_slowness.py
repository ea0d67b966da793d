"""A run that stays below a third of its best speed for 30 s is told of, once, and nothing else is."""

from __future__ import annotations

from itertools import repeat

import pytest

from zoo.cli.slowness import SlownessWatch

FAST = [*repeat(0.5, 40)]
"""Seconds of steps of ten images: 20 images/s."""


def told(seconds: list[float]) -> list[tuple[int, str]]:
    """At which seconds a run of such steps tells what."""
    now = 0.0
    watch = SlownessWatch(10, lambda: now)
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
