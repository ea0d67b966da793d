"""Curves against steps."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from zoo.report.page.curves import MOST_POINTS, loss_curve, quality_curve, strip, thinned, window_of


def words(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_long_curve_keeps_its_peaks_and_its_order():
    values = np.random.default_rng(0).normal(size=40_000)
    values[12_345], values[30_001] = 99, -99
    steps, kept = thinned(range(0, 400_000, 10), values)
    assert len(kept) <= MOST_POINTS
    assert {99, -99} <= set(kept)
    assert (np.diff(steps) > 0).all()
    assert steps[kept.argmax()] == 123_450


def test_every_nth_point_would_lose_a_peak():
    values = np.zeros(40_000)
    values[12_345] = 1
    assert values[:: 40_000 // MOST_POINTS].max() == 0
    assert thinned(range(40_000), values)[1].max() == 1


def test_a_short_curve_is_left_as_it_is():
    steps, values = thinned([10, 20], [1.0, 2.0])
    assert (steps.tolist(), values.tolist()) == ([10, 20], [1, 2])


@pytest.mark.parametrize("count", [1, 2, 19, 20, 2000])
def test_curves_of_any_length(count):
    steps, values = range(10, 10 * count + 10, 10), [1 / step for step in range(1, count + 1)]
    assert 1 <= window_of(values) <= count
    for svg in (loss_curve(steps, values), strip(steps, values), strip(steps, values, logarithmic=True)):
        assert words(svg)
    assert len(loss_curve(steps, values)) < 100_000


def test_the_same_curve_gives_the_same_text():
    assert loss_curve([1, 2], [3.0, 2.0]) == loss_curve([1, 2], [3.0, 2.0])
    assert loss_curve([1, 2], [3.0, 2.0]) != loss_curve([1, 2], [3.0, 2.5])


def test_steps_are_told_with_commas_and_logarithms_as_numbers():
    assert "400,000" in words(strip([1, 400_000], [1.0, 2.0]))
    assert {"1", "10"} <= set(words(strip([1, 2], [1.0, 12.0], logarithmic=True)))


def test_a_floor_is_in_sight():
    assert "1.0" in words(quality_curve({10: 0.2, 20: 0.3}, 1.0))
    assert "1.0" not in words(quality_curve({10: 0.2, 20: 0.3}, None))
