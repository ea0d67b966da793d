"""How many values are drawn, and how many are tried before all are refused: as many however few are asked for."""

import pytest
from hypothesis import strategies as st

from zoo.testing.draw import Refused, draw


@pytest.mark.parametrize("examples", [1, 3, 25])
def test_as_many_are_tried_before_all_are_refused_however_few_are_asked_for(examples):
    tried = []

    def never(value):
        tried.append(value)
        raise Refused("never")

    with pytest.raises(TypeError, match="every example is refused, and nothing was checked, mostly so: never"):
        draw(st.integers(), never, examples, patience=100)
    assert 100 <= len(tried) <= 110  # hypothesis sees the last again


@pytest.mark.parametrize("patience", [None, 100])
@pytest.mark.parametrize("examples", [1, 3, 25])
def test_no_more_are_found_than_are_asked_for(examples, patience):
    assert len(draw(st.integers(), lambda value: value, examples, patience=patience)) == examples


def test_what_is_rare_is_found():
    def seldom(value):
        if value < 29:
            raise Refused("too little")
        return value

    assert draw(st.integers(0, 30), seldom, 1, patience=100)[0] >= 29
