"""Tables on a terminal, and in a pipe."""

import io
import os
from itertools import chain

import pytest
from rich.console import Console

from tests.report.test_tables import COST, HALF
from tests.shapes import level, recipe_of
from zoo.audit import audit
from zoo.report.comparison import Entry
from zoo.report.printing import print_audit, print_comparison
from zoo.report.tables import cost_table, giga


@pytest.mark.parametrize("name", ["one", "n" * 150])
@pytest.mark.parametrize("width", [40, *range(100, 120)])
def test_nothing_is_cut_where_a_table_is_wider_than_what_it_is_printed_to(width, name):
    entries, console = [Entry(name, COST), Entry("two", COST)], Console(file=io.StringIO(), width=width)
    print_comparison(console, entries)
    printed, table = console.file.getvalue(), cost_table(entries)
    for cell in chain(table.columns, *table.rows):
        assert all(line in printed for line in cell.removeprefix(">").splitlines()), cell
    assert console.width == width


def test_what_is_printed_later_follows_the_terminal(monkeypatch):
    console = Console(file=io.StringIO(), _environ={})
    print_comparison(console, [Entry("one", COST)])
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((200, 50)))
    assert console.width == 200


def test_training_is_beside_anothers_too_where_a_router_leaves_out_tokens():
    plain = recipe_of([level(2, 3)])
    routed = recipe_of([level(2, 3)], router=HALF)
    own, other = audit(routed), audit(plain)
    for recipe, report, rival in ((routed, own, other), (plain, other, own), (plain, other, other)):
        console = Console(file=io.StringIO(), width=200)
        print_audit(console, recipe, report, rival)
        words = (
            f"0.0% less, in training {report.training_macs / rival.training_macs:.1%} ({giga(rival.training_macs)});"
        )
        assert (words in console.file.getvalue()) == (report is not rival)
