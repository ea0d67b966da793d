"""When a log wants a line, and how long what is left will take."""

from types import SimpleNamespace

import pytest

from zoo.pace import Pace


@pytest.fixture
def now():
    """The time that the clock of ``pace`` tells."""
    return SimpleNamespace(seconds=1000.0)


@pytest.fixture
def pace(now):
    """Of ten pieces, of which two were done before."""
    return Pace(10, 2, lambda: now.seconds)


def test_lines_are_due_after_more_than_ten_seconds_each(pace, now):
    due = []
    for _ in range(25):
        now.seconds += 1
        due.append(pace.is_due())
    assert [place for place, each in enumerate(due, start=1) if each] == [11, 22]


def test_a_line_that_has_to_be_delays_the_next(pace, now):
    now.seconds += 8
    assert pace.is_due(at_once=True)
    now.seconds += 8
    assert not pace.is_due()


@pytest.mark.parametrize(
    ("seconds", "done", "told"),
    [
        (9.9, 5, ""),  # so short a time tells of no speed
        (30, 2, ""),  # of nothing
        (30, 4, "left 0:01:30"),  # two in 30 s, and six are left
        (3600, 3, "left 7:00:00"),
        (36_000, 3, "left 70:00:00"),
        (31, 4, "left 0:01:33"),
        (10, 9, "left 0:00:02"),  # of 1.43 s
        (30, 10, ""),
    ],
)
def test_what_is_left_goes_by_the_mean_speed_since_the_start(pace, now, seconds, done, told):
    now.seconds += seconds
    assert pace.left(done) == told


def test_a_line_says_how_much_is_done_and_what_is_left(pace, now):
    assert pace.line("drawing", 5) == "drawing: 50 %"
    now.seconds += 15
    assert pace.line("drawing", 5) == "drawing: 50 %  left 0:00:25"
