"""How far long work on images has come: a bar on a terminal, and lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from zoo.distributed.distributed import Distributed
from zoo.errors import printable
from zoo.pace import Pace

T = TypeVar("T")

_UNTOLD = ContextVar("untold", default=False)


@contextmanager
def untold() -> Iterator[None]:
    """Say nothing meanwhile, since a run shows how it goes itself."""
    token = _UNTOLD.set(True)
    try:
        yield
    finally:
        _UNTOLD.reset(token)


def told(text: str, world: Distributed) -> None:
    """Say in a line on stderr, from the main process, what will take long."""
    if world.is_main and not _UNTOLD.get():
        print(printable(text), file=sys.stderr, flush=True)


def tracked(
    pieces: Iterable[T], total: int, what: str, world: Distributed, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """The pieces of this process's share of the work, while the main process says how far its own has come.

    Args:
        pieces: what is to be done, one after the other.
        total: how many they are.
        what: is done, for people.
        world: this process among those of the job.
        clock: tells the time in seconds.
    """
    if _UNTOLD.get():
        yield from pieces
        return
    terminal = Console(stderr=True, highlight=False)
    if world.is_main and terminal.is_terminal:
        yield from track(pieces, what, total=total, console=terminal, transient=True)
        return
    pace = Pace(total, clock=clock)
    for done, piece in enumerate(pieces):
        if world.is_main and done and pace.is_due():
            print(pace.line(what, done), file=sys.stderr, flush=True)
        yield piece
