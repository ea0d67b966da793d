"""Loading plug-ins, whatever they do as they are imported: one that fails is told, and the rest goes on without it."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from typing import Any, NoReturn, TextIO, TypeVar

from zoo.errors import ZooError, in_words, words_of
from zoo.plugins import GROUPS, Package, Plugin, PluginProblem
from zoo.signals import Stopped

T = TypeVar("T")

left_running: list[threading.Thread] = []
"""Threads that plug-ins have begun as they were loaded, and that the interpreter would wait for at its end."""

LOADING_PATIENCE = 10.0
"""Seconds that a plug-in may take to be loaded before it is told what is waited for."""

PATIENCE = 10.0
"""Seconds that a process may take to end before it is told what keeps it, and a thread no longer does."""

_hears = threading.Lock()

_ran: dict[str, None] = {}
"""The plug-ins of which code has run."""


class LoadError(Exception):
    """A plug-in that could not be loaded: the reason in words, and behind it what was raised."""


def visit_plugins(
    group: str, packages: list[Package], visit: Callable[[Plugin, metadata.EntryPoint], None]
) -> list[PluginProblem]:
    """Call ``visit`` for every entry point of ``group`` in packages that may be loaded; return what went wrong."""
    problems: list[PluginProblem] = []
    for package in packages:
        for entry_point in () if package.is_idle else package.of(group):
            plugin = package.plugin
            try:
                guarded(plugin, lambda plugin=plugin, point=entry_point: visit(plugin, point), problems.append)  # type: ignore[misc]
            except LoadError as failure:
                what = GROUPS[group]
                line = f"plug-in {plugin} failed to load, its {what} are missing: {failure}"
                problems.append(PluginProblem((plugin,), str(failure), line, what, failure.__cause__))
    return problems


def guarded(plugin: Plugin, load: Callable[[], T], tell: Callable[[PluginProblem], None]) -> T:
    """What ``load`` returns, which runs code of a plug-in.

    Args:
        plugin: for messages.
        load: imports it.
        tell: what it should not have done, and works all the same: printing, or leaving threads behind.

    Raises:
        LoadError: it raised anything, or ended the process.
        KeyboardInterrupt: Ctrl-C, with words that say what was being loaded.
    """
    threads = set(threading.enumerate())
    process = os.getpid()
    _ran[str(plugin)] = None
    try:
        with _told_in_a_while(f"zoo waits for plug-in {plugin} to be loaded; Ctrl-C ends it"), _heard() as said:
            loaded = load()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"while plug-in {plugin} was being loaded") from None
    except Stopped:
        raise
    except BaseException as error:
        raise LoadError(_reason(error, said)) from error
    finally:
        if os.getpid() != process:  # or the command would run twice
            _end_the_copy(plugin)
        left = [each for each in threading.enumerate() if each not in threads and not each.daemon]
        left_running.extend(left)
    if "".join(said).strip():
        _remark(plugin, f"prints as it is loaded, which is left out: {_shown(said)}", tell)
    if left:
        names = ", ".join(each.name for each in left)
        _remark(plugin, f"leaves a thread running as it is loaded ({names}), which zoo does not wait for", tell)
    return loaded


def see_to_the_end(code: int, tell: Callable[[str], None]) -> None:
    """Have the process end in a while though threads of plug-ins still run, which the interpreter would wait for.

    By what they have registered with ``atexit`` plug-ins may keep it too; then they are named alone.

    Args:
        code: the exit code.
        tell: takes a line for the user.
    """
    threading.Thread(target=_see_to_the_end, args=(code, tell), daemon=True).start()


def _see_to_the_end(code: int, tell: Callable[[str], None]) -> None:
    threading.main_thread().join()
    time.sleep(PATIENCE)
    if names := [each.name for each in threading.enumerate() if not each.daemon and each.is_alive()]:
        tell(f"warning: zoo is done, and ends while threads that plug-ins have begun still run: {', '.join(names)}")
        sys.stderr.flush()
        os._exit(code)
    if _ran:
        tell(f"zoo is done, and waits for what plug-ins do at the end ({', '.join(_ran)}); Ctrl-C ends it")


@contextmanager
def _told_in_a_while(line: str) -> Iterator[None]:
    """Say a line on stderr where what is done takes longer than patience lasts."""
    stream = sys.stderr
    timer = threading.Timer(LOADING_PATIENCE, lambda: print(line, file=stream, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end_the_copy(plugin: Plugin) -> NoReturn:
    """End a process that a plug-in has forked from zoo's own as it was loaded."""
    print(f"warning: plug-in {plugin} forks zoo as it is loaded; the copy has been ended", file=sys.stderr, flush=True)
    os._exit(1)


def _remark(plugin: Plugin, reason: str, tell: Callable[[PluginProblem], None]) -> None:
    tell(PluginProblem((plugin,), reason, f"plug-in {plugin} {reason}"))


def _reason(error: BaseException, said: list[str]) -> str:
    text = words_of(error) if isinstance(error, ZooError) else in_words(error)
    return f"{text} (it printed {_shown(said)})" if "".join(said).strip() else text


def _shown(said: list[str]) -> str:
    lines = [line for line in "".join(said).splitlines() if line.strip()]
    first = lines[0].strip()
    more = f" and {len(lines) - 1} more lines" if len(lines) > 1 else ""
    return repr(first if len(first) <= 100 else f"{first[:97]}...") + more


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Keep what this thread prints from the output of zoo, and give it. Warnings are shown afterwards, as others."""
    said: list[str] = []
    if not _hears.acquire(blocking=False):  # one plug-in that loads another, or a thread beside
        yield said
        return
    kept: list[tuple[Any, ...]] = []
    streams, show = (sys.stdout, sys.stderr), warnings.showwarning
    hearing = [None if stream is None else _Hearing(stream, said) for stream in streams]

    def keep(*warning: Any, **_: Any) -> None:
        kept.append(warning[:4])

    try:
        with _programs_aside():
            sys.stdout, sys.stderr, warnings.showwarning = *hearing, keep
            yield said
    finally:
        sys.stdout, sys.stderr = streams
        for each in filter(None, hearing):
            each.listens = False
        if warnings.showwarning is keep:
            warnings.showwarning = show
        _hears.release()
        for warning in kept:
            warnings.showwarning(*warning)


@contextmanager
def _programs_aside() -> Iterator[None]:
    """Let programs that are run, and libraries in C, print to stderr, where it is not taken for zoo's output."""
    own = None
    with suppress(OSError, ValueError):  # closed
        if sys.stdout is not None:
            sys.stdout.flush()
        own = os.dup(1)
        os.dup2(2, 1)
    try:
        yield
    finally:
        if own is not None:
            os.dup2(own, 1)
            os.close(own)


class _Hearing:
    """In place of a stream: keeps what is written to it; and afterwards, where a log has come to hold it, is it."""

    def __init__(self, stream: TextIO, said: list[str]) -> None:
        self._stream, self._said = stream, said
        self._thread, self.listens = threading.get_ident(), True

    def write(self, text: str) -> int:
        """Keep or write."""
        if self.listens and threading.get_ident() == self._thread:
            self._said.append(text)
            return len(text)
        return self._stream.write(text)

    def writelines(self, lines: list[str]) -> None:
        """Keep or write."""
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Leave the stream open: it is zoo's."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
