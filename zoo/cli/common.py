"""What all commands share: consoles, and errors as one clear line with the right exit code."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from zoo.cli.going_on import asked_as
from zoo.cli.misuse import WORDS, asks_for_help, in_a_line
from zoo.errors import OutputError, Preempted, ProcessError, WeightsError, ZooError, as_failure, in_words, printable
from zoo.open_files import are_too_many
from zoo.plugins import ALL, PluginProblem
from zoo.recipe.averages import average_named
from zoo.registry import Registry
from zoo.signals import ENDS, Stopped, handled, is_interrupted, stop_signals

Device = Annotated[
    str | None, typer.Option("--device", help="Such as cpu or cuda. (default: cuda if there is one, else cpu)")
]


def flowing(text: str) -> str:
    """Paragraphs of a docstring as lines of any length, which typer breaks where the terminal ends; lists stay."""
    return "\n\n".join(
        each if re.search(r"^(\x08|\s|[-*] |\d+[.)] )", each, re.MULTILINE) else " ".join(each.split("\n"))
        for each in text.split("\n\n")
    )


def _known_weights(weights: str) -> str:
    average_named(weights)  # or it is refused, before anything is read
    return weights


WhichWeights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="ema|ema:DECAY|ema:std=S|raw",
        help="Of a run or a training checkpoint: averaged (of several the first, or that of a decay or std), or the"
        " last.",
        callback=_known_weights,
    ),
]
AtStep = Annotated[
    str | None,
    typer.Option("--step", metavar="N|best", help="Of a run, the checkpoint. (default: the newest)"),
]
PartsFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--parts", metavar="FILE", help="A Python file with parts, in no package. It stands alone. Repeatable."
    ),
]
ARecipe = Annotated[
    str,
    typer.Option("--recipe", "-r", metavar="R", help="A path, or a name that `zoo recipes` lists.", show_default=False),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with what an interrupted call with the same options has drawn.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

WIDTH_WITHOUT_TERMINAL = 140
LEAST_WIDTH = 80  # on a narrower terminal lines wrap, since figures must not be cut

USAGE: type[BaseException] = typer.BadParameter.__mro__[1]
CLICK: type[BaseException] = typer.BadParameter.__mro__[2]
"""UsageError and ClickException, of click or of typer's own copy of it."""
# What ends a command in its own way.
NOT_OURS: tuple[type[BaseException], ...] = (typer.Exit, typer.Abort, CLICK, *ENDS)


FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""Warnings about the code of zoo and of its libraries, of which users of a command can do nothing."""


def console() -> Console:
    """A console as wide as the terminal, or wide enough for every table where the output is piped."""
    terminal = max(shutil.get_terminal_size().columns, LEAST_WIDTH)
    return Console(width=terminal if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)


class Commands(TyperGroup):
    """Ends any error of a command, also of a plug-in's, with one clear message on stderr and the right exit code.

    The traceback comes only with ``--debug``. Commands of plug-ins come from the context's ``obj``.
    """

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Take the options of ``zoo`` itself."""
        try:
            return super().make_context(*args, **options)
        except USAGE as misuse:
            raise _refused(misuse) from None

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Keep what has been asked for, for messages."""
        ctx.meta.setdefault(WORDS, tuple(args))  # but not of a group within
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """The names of all commands."""
        with warnings_in_lines(), _interruption_told():
            return [*super().list_commands(ctx), *(ctx.obj.names() if ctx.obj else ())]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """A command; None where there is none."""
        found = super().get_command(ctx, cmd_name)
        if found is None and ctx.obj is not None:
            with warnings_in_lines(), _interruption_told():
                found = ctx.obj.get(cmd_name)
        for each in () if found is None else (found, *getattr(found, "commands", {}).values()):
            each.help = flowing(each.help or "")
            for option in (*each.params, each.get_help_option(ctx)):
                if getattr(option, "is_flag", False):
                    option.metavar = ""  # or help has <bool> where nothing is to be given
        return found

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        debug = "--debug" in ctx.args
        try:
            _refuse_gone_folder()
            with warnings_in_lines(), _interruption_told(), asked_as(ctx.meta[WORDS]):
                return super().invoke(ctx)
        except USAGE as misuse:
            raise _refused(misuse) from None
        except NOT_OURS:
            raise
        except BaseException as end:
            if isinstance(end, SystemExit) and self._is_of_a_plugin(ctx):
                raise
            error = as_failure(end)
            if debug:
                traceback.print_exception(error)
            if not isinstance(error, ZooError) and are_too_many(error):
                error = ProcessError("too many open files: raise their number by `ulimit -n`")
            words = f"{'stopped' if isinstance(error, Preempted) else 'error'}: {describe(error)}"
            own = not isinstance(error, ZooError) or isinstance(error, ProcessError)
            if own or _is_first():  # which tells of an error that all processes of a job agree on
                print(words, file=sys.stderr)
            if not own and "RANK" in os.environ:
                from zoo.distributed.launch import leave_words

                leave_words(words)
            raise typer.Exit(error.exit_code if isinstance(error, ZooError) else 1) from None

    def _is_of_a_plugin(self, ctx: typer.Context) -> bool:
        """Whether the command is a plug-in's, whose exit code is its own affair."""
        return super().get_command(ctx, ctx.invoked_subcommand or "") is None


@contextmanager
def _interruption_told() -> Iterator[None]:
    """End what Ctrl-C stops with a line, and say which plug-in was being loaded: it may be what was waited for.

    Libraries may raise something else where they are interrupted.
    """
    try:
        yield
    except (KeyboardInterrupt, Exception) as stop:
        by_itself = isinstance(stop, KeyboardInterrupt)
        if isinstance(stop, typer.Exit) or not (by_itself or is_interrupted()):
            raise
        if _is_first():
            tell(f"interrupted {stop if by_itself else ''}".strip())
        raise typer.Exit(128 + signal.SIGINT) from None


def _refuse_gone_folder() -> None:
    """Refuse to run where nothing is: PyTorch ends a process there in the midst of its work, whatever it does.

    Raises:
        ZooError: the working folder has been removed.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ZooError("the working folder has been removed: cd to another one first") from None


def _refused(misuse: BaseException) -> BaseException:
    """The end of a command that is called in a way that there is not, which is told in a line."""
    if asks_for_help(misuse):
        return misuse
    if _is_first():
        print(f"error: {in_a_line(misuse)}", file=sys.stderr)
    return typer.Exit(2)


def _teller() -> Callable[..., None]:
    """Shows each warning once, on one process of a job."""
    told = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = str(message)
        if _is_first() and text not in told:
            told.add(text)
            warn_of(text)

    return show


def _is_first() -> bool:
    """Whether this process tells what all processes of a job meet."""
    return os.environ.get("RANK", "0") == "0"


def describe(error: Exception) -> str:
    """An error's message: one line, or a line for each problem."""
    if not isinstance(error, ZooError):
        return f"{in_words(error)} (a fault of zoo or of a plug-in; --debug shows where)"
    if isinstance(error, WeightsError):
        return str(error)
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems", *(f"  {line}" for line in lines)])


def warn(problems: Sequence[PluginProblem], *, debug: bool = False) -> None:
    """Tell on stderr what is wrong with plug-ins, a line each, and with ``debug`` their tracebacks."""
    for problem in problems:
        warn_of(problem.line)
        if debug:
            print_traceback(problem)


def print_traceback(problem: PluginProblem) -> None:
    """The traceback of what a plug-in raised, if it did, on stderr."""
    if problem.error is not None:
        traceback.print_exception(problem.error)


def tell(text: str) -> None:
    """A line on stderr, in which names are escaped that would be more, or would act on the terminal."""
    print(printable(text), file=sys.stderr)


def warn_of(problem: str) -> None:
    """A warning on stderr."""
    tell(f"warning: {problem}")


@contextmanager
def warnings_in_lines() -> Iterator[None]:
    """Tell users what they can mend, in a line each and once, whatever the interpreter was told to show or to raise."""
    with warnings.catch_warnings():
        warnings.showwarning = _teller()
        if any(action == "error" for action, *_ in warnings.filters):
            warnings.simplefilter("default")
        for kind in FOR_DEVELOPERS:
            warnings.simplefilter("ignore", kind)
        yield


@contextmanager
def tidy_when_stopped() -> Iterator[None]:
    """Have SIGTERM and its like end a command as Ctrl-C does, so that nothing half-written stays behind."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(128 + number)

    with handled((each for each in stop_signals() if each != signal.SIGINT), stop):
        yield


def try_folder(folder: Path, called: str) -> None:
    """Make a folder, and see that it can be written to, before minutes are spent.

    Args:
        folder: to make.
        called: what messages say in front of the problem, such as ``--out results``.

    Raises:
        OutputError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(
            f"{called}: cannot be written: {error.strerror}; choose another folder, or mend it"
        ) from error


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Save a short command the fifth of its time that looking for cycles takes; it leaves few."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def installed_registry(files: Sequence[Path] | None, *, debug: bool = False) -> Registry:
    """All installed parts, and those of files; what is wrong with plug-ins is told on stderr, also what shows later.

    Raises:
        PluginError: a file that cannot be used.
    """
    registry = Registry.installed()
    warn([each for each in registry.problems if each.missing != ALL], debug=debug)  # those are told of any command
    registry.tell = lambda problem: warn([problem], debug=debug)
    return registry.with_parts(files or ())
