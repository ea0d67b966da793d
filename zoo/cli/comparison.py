"""What ``zoo compare`` and ``zoo sweep`` end with: tables or JSON, and a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from zoo.cli.common import console, tell
from zoo.errors import RunError, ZooError
from zoo.files import write_whole
from zoo.registry import Registry
from zoo.report.comparison import Entry, Problem
from zoo.report.pareto import axes_of, check_suffix, plot, to_svg
from zoo.report.printing import print_comparison
from zoo.weights import refuse_existing


def refuse_plot(path: Path | None) -> None:
    """Refuse a plot that cannot be written, if there is to be one, before anything is counted.

    Raises:
        ZooError: it is of no format that is known, or exists already.
    """
    if path is not None:
        check_suffix(path)
        refuse_existing(path)


def show(
    entries: Sequence[Entry],
    registry: Registry,
    problems: Sequence[Problem],
    *,
    path: Path | None,
    x: str | None,
    y: str | None,
    as_json: bool,
) -> None:
    """Draw, if there is a ``path`` to, by the axes that are asked for or else chosen; and then print.

    Problems of what should be among the entries are told first: they may be why there is nothing to draw.

    Raises:
        ZooError: there is no such axis.
        RunError: the plot cannot be written.
        Exit: there are problems; with the code of the first.
    """
    for problem in problems:
        tell(f"error: {problem.words}")
    try:
        if path is not None:
            _draw(entries, path, x, y, registry)
    except ZooError as error:
        if not problems:
            raise
        tell(f"error: {error}")
    if as_json:
        print(json.dumps(to_json(entries)))
    else:
        print_comparison(console(), entries)
    if problems:
        raise typer.Exit(problems[0].exit_code)


def to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Entries as plain values, with means and deviations over runs."""
    return [
        {**asdict(entry), "figures": {name: spread._asdict() for name, spread in entry.figures().items()}}
        for entry in entries
    ]


def _draw(entries: Sequence[Entry], path: Path, x: str | None, y: str | None, registry: Registry) -> None:
    """Write the plot in the format of the file's name."""
    figure = plot(entries, *axes_of(entries, x, y, registry))
    if path.suffix.lower() == ".png":
        write_whole(path, lambda file: figure.savefig(file, format="png"), RunError)
    else:
        text = to_svg(figure)
        if path.suffix.lower() == ".html":
            from zoo.report.page import comparison_page

            text = comparison_page(entries, text)
        write_whole(path, text, RunError)
    tell(f"wrote {path}")
