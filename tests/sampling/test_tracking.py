"""Long work tells what it is and how far it has come, in a log by a line every ten seconds or so; one process tells."""

from dataclasses import replace

import pytest

from tests.train.small import ALONE
from zoo.sampling.tracking import told, tracked, untold

OTHER = replace(ALONE, rank=1, size=2)


def lines(total, seconds, capsys, world=ALONE):
    """What is told of so many pieces, each of which takes so many seconds."""
    now = [0.0]
    for done, piece in enumerate(tracked(iter(range(total)), total, "drawing", world, lambda: now[0])):
        assert piece == done
        now[0] += seconds
    return capsys.readouterr().err.splitlines()


def test_a_log_has_a_line_after_ten_seconds(capsys):
    wanted = ["drawing: 41 %  left 0:00:15", "drawing: 82 %  left 0:00:05"]
    assert lines(100, 0.25, capsys) == wanted


def test_pieces_that_take_long_have_a_line_each_but_for_the_last(capsys):
    assert lines(3, 20.0, capsys) == ["drawing: 33 %  left 0:00:40", "drawing: 66 %  left 0:00:20"]


@pytest.mark.parametrize("total", [0, 1, 100])
def test_short_work_has_none(total, capsys):
    assert lines(total, 0.01, capsys) == []


def test_one_process_tells(capsys):
    assert lines(100, 1, capsys, OTHER) == []
    told("draws", OTHER)
    assert capsys.readouterr().err == ""


def test_nothing_is_told_within_a_run_that_shows_how_it_goes(capsys):
    with untold():
        told("draws", ALONE)
        assert lines(100, 1, capsys) == []
    told("runs/a\n: draws", ALONE)
    assert capsys.readouterr().err == "runs/a\\n: draws\n"


def test_a_line_comes_before_the_work_that_follows_it(capsys):
    now = [0.0]
    pieces = tracked(iter(range(20)), 20, "drawing", ALONE, lambda: now[0])
    next(pieces)
    now[0] = 11.0
    next(pieces)
    assert capsys.readouterr().err == "drawing: 5 %  left 0:03:29\n"
