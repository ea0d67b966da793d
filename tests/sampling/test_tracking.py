"""Long work tells how far it has come: in a log, ten lines at most; and one process tells."""

from dataclasses import replace

import pytest

from tests.train.small import ALONE
from zoo.sampling.tracking import tracked


def lines(total, capsys, world=ALONE):
    assert list(tracked(iter(range(total)), total, "drawing", world)) == list(range(total))
    return capsys.readouterr().err.splitlines()


def test_a_log_has_a_line_for_each_tenth(capsys):
    wanted = [f"drawing: {percent} %" for percent in range(10, 100, 10)]
    assert lines(10, capsys) == wanted
    assert lines(782, capsys) == wanted


@pytest.mark.parametrize("total", [0, 1, 9])
def test_short_work_has_none(total, capsys):
    assert lines(total, capsys) == []


def test_one_process_tells(capsys):
    assert lines(100, capsys, replace(ALONE, rank=1, size=2)) == []


def test_a_line_comes_before_the_work_that_follows_it(capsys):
    pieces = tracked(iter(range(20)), 20, "drawing", ALONE)
    for _ in range(3):
        next(pieces)
    assert capsys.readouterr().err == "drawing: 10 %\n"
