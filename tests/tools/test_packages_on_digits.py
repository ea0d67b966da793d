"""The comparison of packages on digits: the page is of the committed results, and these are of equal work."""

import json
from itertools import groupby, pairwise

import packages_on_digits as tool
import pytest


@pytest.fixture(scope="module")
def committed():
    return json.loads(tool.RESULTS.read_text(encoding="utf-8"))


def test_the_page_has_the_tables_of_the_results(committed):
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page.split(tool.START)[1].split(tool.END)[0] == tool.tables(committed)


def test_rows_of_a_table_are_of_equal_work_and_two_seeds(committed):
    for name, rows in groupby(committed, key=lambda each: each["table"]):
        found = list(rows)
        work = [each["steps"] * each["macs_of_step"] for each in found]
        assert max(work) / min(work) < 1.002, name
        assert found[0]["steps"] == tool.STEPS
        seeds = sorted((each["row"], each["seed"]) for each in found)
        assert seeds == sorted((row, seed) for row in {each["row"] for each in found} for seed in range(2))


def test_the_work_of_a_loss_is_counted(committed):
    """REPA's MLP costs what its matrices multiply, forward once and backward twice."""
    plain, aligned = (next(each for each in committed if each["row"] == row) for row in ("MPDiT", "MPDiT + REPA"))
    places, widths = 16, (96, 256, 256, 32)
    products = sum(a * b for a, b in pairwise(widths))
    assert aligned["macs_of_step"] - plain["macs_of_step"] == 3 * 32 * places * products
