"""Figures in short."""

import pytest

from zoo.report.diagram.words import amount, percent


@pytest.mark.parametrize(
    ("count", "short"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10 k"), (3_456_368_640, "3.456 G"), (10**12, "1 T"), (999_900, "999.9 k")],
)
def test_amounts_have_four_digits_and_a_unit(count, short):
    assert amount(count) == short


def test_shares_have_three_digits():
    assert [percent(share) for share in (1.0, 0.5, 0.2138, 1 / 3)] == ["100%", "50%", "21.4%", "33.3%"]
