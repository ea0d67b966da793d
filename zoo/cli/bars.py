"""Bars of rich on stderr, where that is a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn
from rich.table import Column


def bar(*columns: ProgressColumn, console: Console | None = None, transient: bool = True) -> Progress:
    """A bar, which gives way to what stands beside it where a terminal is narrow, and how much is done of how much.

    Args:
        columns: what stands behind.
        console: on stderr; a new one if left out.
        transient: the bar goes once all is done.
    """
    screen = console or Console(stderr=True, highlight=False)
    own = (BarColumn(None, table_column=Column(max_width=40)), MofNCompleteColumn(table_column=Column(no_wrap=True)))
    return Progress(*own, *columns, console=screen, disable=not screen.is_terminal, transient=transient)
