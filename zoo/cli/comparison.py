"""What ``zoo compare`` and ``zoo sweep`` write besides tables: JSON and plots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.registry import Registry
from zoo.report.comparison import Entry


def to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Entries as plain values, with means and deviations over runs."""
    return [
        {**asdict(entry), "figures": {name: spread._asdict() for name, spread in entry.figures().items()}}
        for entry in entries
    ]


def draw(entries: Sequence[Entry], path: Path, x: str | None, y: str | None, registry: Registry) -> None:
    """Write the plot in the format of the file's name.

    Raises:
        ZooError: there is no such axis.
        WeightsError: the file cannot be written.
    """
    from zoo.report.pareto import axes_of, plot, to_svg
    from zoo.weights import write_whole

    figure = plot(entries, *axes_of(entries, x, y, registry))
    if path.suffix.lower() == ".png":
        write_whole(path, lambda file: figure.savefig(file, format="png"))
    else:
        text = to_svg(figure)
        if path.suffix.lower() == ".html":
            from zoo.report.page import comparison_page

            text = comparison_page(entries, text)
        write_whole(path, lambda file: file.write_text(text, encoding="utf-8"))
    print(f"wrote {path}", file=sys.stderr)
