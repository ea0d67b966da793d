"""How far long work on images has come: a bar on a terminal, and lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from zoo.distributed.distributed import Distributed

LINES = 10
"""Of a log, for work that comes in as many pieces or more."""

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


def tracked(pieces: Iterable[T], total: int, what: str, world: Distributed) -> Iterator[T]:
    """The pieces of this process's share of the work, while the main process says how far its own has come.

    Args:
        pieces: what is to be done, one after the other.
        total: how many they are.
        what: is done, for people.
        world: this process among those of the job.
    """
    if _UNTOLD.get():
        yield from pieces
        return
    terminal = Console(stderr=True, highlight=False)
    if world.is_main and terminal.is_terminal:
        yield from track(pieces, what, total=total, console=terminal, transient=True)
        return
    for done, piece in enumerate(pieces):
        tenths = done * LINES // total
        if world.is_main and total >= LINES and done and tenths > (done - 1) * LINES // total:
            print(f"{what}: {tenths * 100 // LINES} %", file=sys.stderr, flush=True)
        yield piece
