"""What commands print, and what results in Python show of themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape as without_markup
from rich.measure import Measurement
from rich.segment import Segments
from rich.table import Table as RichTable

from zoo.audit import Audit, count_params
from zoo.backbone import Backbone
from zoo.errors import printable_lines
from zoo.recipe import Recipe
from zoo.report.tables import (
    Table,
    audit_facts,
    cost_table,
    figures_table,
    giga,
    params_words,
    parts_table,
    plain_parts_table,
    plain_way_table,
    quality_table,
    way_table,
)
from zoo.runs.judged import HELD_OUT, REAL

if TYPE_CHECKING:
    from zoo.report.comparison import Entry


def print_assembly(console: Console, recipe: Recipe, backbone: Backbone) -> None:
    """What the assembly is, without its cost."""
    _print_header(console, recipe)
    _print(console, plain_way_table(backbone))
    _print(console, plain_parts_table(backbone, recipe))
    console.print(f"parameters {_strong(params_words(count_params(backbone)))}; --flops counts multiply-adds")


def print_audit(console: Console, recipe: Recipe, audit: Audit, against: Audit | None = None) -> None:
    """What the assembly is and what it costs, beside another if one is given."""
    _print_header(console, recipe)
    _print(console, way_table(audit, recipe.backbone.dim))
    _print(console, parts_table(audit))
    for name, words in audit_facts(audit):
        shown = words.replace("×", "x")  # noqa: RUF001 - which not every terminal shows
        console.print(f"{name:<18}{shown if name == 'FLOPs' else _strong(shown)}")
    if against is not None:
        ratio, saved = audit.macs / against.macs, 1 - audit.macs / against.macs
        less = f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'}"
        if (audit.training_macs, against.training_macs) != (audit.macs, against.macs):
            less += f", in training {audit.training_macs / against.training_macs:.1%} ({giga(against.training_macs)})"
        console.print(
            f"against           [bold]{ratio:.1%}[/] of {escape(against.recipe)} ({giga(against.macs)}), {less};"
            f" parameters {audit.params.total / against.params.total:.1%} of {against.params.total / 1e6:.1f} M"
        )


def print_figures(
    console: Console, recipe: Recipe, figures: Mapping[str, Mapping[str, float]], record: Mapping[str, Any]
) -> None:
    """Figures of generated images, of held-out real ones, and of controls, side by side."""
    console.print(f"[bold]{escape(recipe.name)}[/]")
    _print(console, figures_table(figures, record))
    if HELD_OUT in figures:
        console.print(f"The nearer to those of {HELD_OUT} images, the better", soft_wrap=True)
    for metric, needs in record["unfed"].items():
        by = f"features {record['evaluate']['features']['type']} do not give"
        lack = f"needs {' and '.join(needs)}, which {by if record['counts'][REAL] else 'moments do not tell'}"
        console.print(f"no {escape(f'{metric}: it {lack}')}", soft_wrap=True)


def print_comparison(console: Console, entries: Sequence[Entry]) -> None:
    """What each assembly costs, beside the first, and what its runs came to."""
    _print(console, cost_table(entries))
    ways = dict.fromkeys(entry.cost.sampling for entry in entries)
    for way in ways:
        names = [entry.name for entry in entries if entry.cost.sampling == way]
        of = f" ({escape(', '.join(names))})" if len(ways) > 1 else ""
        console.print(f"an image is {way}{of}", soft_wrap=True)
    for entry in entries:
        if entry.cost.memory_problem:
            console.print(f"{escape(entry.name)}: {escape(entry.cost.memory_problem)}", soft_wrap=True)
    quality = quality_table(entries)
    if quality is not None:
        _print(console, quality, folding=2)
    for doubt, runs in _doubts(entries).items():
        console.print(f"{escape(doubt)} ({escape(', '.join(runs))})", soft_wrap=True)


def _doubts(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """What makes figures doubtful, and the runs that it is said of."""
    found: dict[str, list[str]] = {}
    for outcome in (outcome for entry in entries for outcome in entry.outcomes):
        for doubt in outcome.doubts:
            found.setdefault(doubt, []).append(outcome.run)
    return found


def _print_header(console: Console, recipe: Recipe) -> None:
    console.print(f"[bold]{escape(recipe.name)}[/]: {recipe.backbone.words}")


def _print(console: Console, table: Table, folding: int | None = None) -> None:
    """A table below its title; the words of columns from ``folding`` on may stand below each other.

    On a narrower terminal lines wrap, since figures must not be cut.
    """
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(table.columns):
        name = column.removeprefix(">")
        folds = folding is not None and place >= folding
        pieces = [name, *(printable_lines(row[place]) for row in table.rows)]
        least = max(cell_len(line) for piece in pieces for line in (piece.split() if folds else piece.split("\n")))
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        shown.add_column(name, justify=justify, no_wrap=not folds, min_width=least)
    for index, row in enumerate(table.rows):
        is_sum = index in table.sums
        shown.add_row(*map(escape, row), style="bold" if is_sum else None, end_section=is_sum)
    console.print(f"[bold]{escape(table.title)}[/]", soft_wrap=True)
    needed = Measurement.get(console, console.options.update(max_width=sys.maxsize), shown).minimum
    # print() alone renders nothing wider than the console is, whatever it is asked for.
    lines = console.render(shown, console.options.update(max_width=max(needed, console.width)))
    console.print(Segments(lines), soft_wrap=needed > console.width)


def escape(text: str) -> str:
    """A stranger's text as rich takes it: neither rich nor the terminal acts on it."""
    return without_markup(printable_lines(text))


def _strong(words: str) -> str:
    """With the figure before the equals sign in bold."""
    figure, equals, rest = words.partition(" = ")
    return f"[bold]{figure}[/]{equals}{rest}" if equals else words
