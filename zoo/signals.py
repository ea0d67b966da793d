"""Which signals ask a command to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
"""Of schedulers, Ctrl-C, a terminal that goes away, and SLURM's ``--signal``. Windows has not all of them."""


class Stopped(SystemExit):
    """The end of a command that a signal stops, wherever it is: a plug-in that is being loaded has not failed."""


ENDS = (KeyboardInterrupt, Stopped)
"""What ends a command, and is no failure of what was at work."""


def stop_signals() -> list[signal.Signals]:
    """Those that this system has.

    What was ignored when the process began stays so, as SIGHUP does under nohup. Not Ctrl-C: shells let all their
    background jobs ignore it, also those that are sent SIGINT later to have them stop.
    """
    known = [signal.Signals[name] for name in NAMES if name in signal.Signals.__members__]
    return [each for each in known if each == signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN]


@contextmanager
def handled(
    signals: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[dict[signal.Signals, Any]]:
    """Have ``handler`` called on signals; of the main thread alone. Gives what is to become of them afterwards."""
    after: dict[signal.Signals, Any] = {each: signal.signal(each, handler) for each in signals}
    try:
        yield after
    finally:
        for each, former in after.items():
            signal.signal(each, former)


def ignored(signals: Iterable[signal.Signals]) -> None:
    """Ignore signals until the process ends."""
    for each in signals:
        signal.signal(each, signal.SIG_IGN)


def end_in_a_line_until_main() -> None:
    """Have Ctrl-C end the ``zoo`` command without a traceback while its modules are being imported."""
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def interrupt_from_here() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, since somebody catches it by now, and a second one end the command at once.

    So does one while a module of PyTorch is being imported: half imported, it may abort the process, or take ever so
    long to fail with something else.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _interrupt)


def is_interrupted() -> bool:
    """Whether Ctrl-C is what ends the command, whatever was raised in its place."""
    return signal.getsignal(signal.SIGINT) is _end


def _is_command() -> bool:
    """Whether this process is ``zoo`` or ``python -m zoo``, of which no module has been run yet."""
    name = sys.argv[0] if sys.argv else ""
    if name == "-m":
        words = sys.orig_argv
        return words[words.index("-m") + 1] == "zoo" if "-m" in words else False
    return os.path.basename(name) == "zoo"


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _end)
    if any(name.partition(".")[0] == "torch" and _is_being_imported(name) for name in tuple(sys.modules)):
        _end(number, frame)
    raise KeyboardInterrupt


def _is_being_imported(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)
