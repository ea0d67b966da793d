"""Which held-out images make the floor: the mix that was drawn, none twice; and what is said of few."""

import numpy as np
import pytest

from zoo.evaluate.evaluation_record import doubts_of
from zoo.evaluate.mix import rows_as_drawn

LABELS = np.array([0, 1, 0, 1, 0, 0, 1, 0])


def test_rows_have_the_mix_that_is_wanted():
    rows = rows_as_drawn(LABELS, np.array([0, 1, 0, 0]), seed=0)
    assert LABELS[rows].tolist().count(0) == 3
    assert len(set(rows.tolist())) == 4
    assert rows.tolist() == sorted(rows)


def test_no_row_comes_twice():
    """The fourth of class 1 is not there, so that what is wanted after it would change the mix."""
    rows = rows_as_drawn(LABELS, np.array([1, 0] * 5), seed=0)
    assert LABELS[rows].tolist().count(1) == 3
    assert LABELS[rows].tolist().count(0) == 3


def test_rows_are_a_choice_of_the_seed():
    chosen = {tuple(rows_as_drawn(LABELS, np.array([0, 1]), seed)) for seed in range(20)}
    assert len(chosen) > 5
    assert len({tuple(rows_as_drawn(LABELS, np.array([0, 1]), 3)) for _ in range(3)}) == 1


@pytest.mark.parametrize("held_out", [None, 640, 50_000])
def test_many_images_leave_no_doubt(held_out):
    assert list(doubts_of(640, 640, held_out, features=64)) == []


def test_few_images_are_told_with_what_to_do():
    (doubt,) = doubts_of(639, 100, None, features=64)
    assert doubt == (
        "figures of 639 drawn and 100 real images are rough, and Frechet distances come out too large: 64 features ask"
        " for 640 images or more; take evaluate.count=640 and more data"
    )
    (doubt,) = doubts_of(640, 100, None, features=64)
    assert doubt.startswith("figures of 100 real images are rough")
    assert doubt.endswith("; take more data")


def test_a_smaller_floor_is_told():
    (doubt,) = doubts_of(50_000, 50_000, 10_000, features=2048)
    assert "the floor is of 10000 held-out images" in doubt
    assert "50000 were drawn" in doubt
