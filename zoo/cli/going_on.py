"""What is said where work that keeps what is done is stopped: the command that goes on with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from zoo.shell import command

if TYPE_CHECKING:  # torch
    from zoo.distributed.distributed import Distributed


@contextmanager
def told_how_to_go_on(
    world: Distributed, is_some_kept: Callable[[], bool], options: Callable[[], Sequence[str]] = lambda: ["--resume"]
) -> Iterator[None]:
    """Say that nothing is lost, where work that keeps what is done is stopped by Ctrl-C or a signal.

    Args:
        world: this process among those of the job.
        is_some_kept: whether there is something to go on with.
        options: that the same command goes on with.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if world.is_main and is_some_kept():
            asked = _asked.get()
            again = command("zoo", *asked, *_lacking(asked, options()))
            print(f"what has been done is kept; go on with: {again}", file=sys.stderr)
        raise


@contextmanager
def asked_as(words: Sequence[str]) -> Iterator[None]:
    """Name what is called, a command of zoo with its options, to whoever stops it.

    One that another one has called, the user might not know how to go on with.
    """
    before = _asked.set(tuple(words))
    try:
        yield
    finally:
        _asked.reset(before)


_asked = ContextVar[tuple[str, ...]]("the words of the command that is running", default=())


def _lacking(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """The options that a command is yet to be given: flags that it has are not among them."""
    return [each for each in options if not (each.startswith("-") and each in words)]
