"""What all commands share: consoles, and errors as one clear line with the right exit code."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from zoo.errors import ZooError
from zoo.registry import Registry

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

WIDTH_WITHOUT_TERMINAL = 140


def console() -> Console:
    """A console as wide as the terminal, or wide enough for every table where the output is piped."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)


class Commands(TyperGroup):
    """Ends a ``ZooError`` of any command, also of a plug-in's, with its message on stderr and its exit code.

    The traceback comes only with ``--debug``.
    """

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        arguments = list(ctx.args)
        try:
            return super().invoke(ctx)
        except ZooError as error:
            if "--debug" in arguments:
                traceback.print_exc()
            report(error)
            raise typer.Exit(error.exit_code) from None


def report(error: ZooError) -> None:
    """Print an error on stderr: one line, or a line for each problem."""
    lines = str(error).splitlines() or [type(error).__name__]
    if len(lines) > 1:
        print(f"error: {len(lines)} problems", file=sys.stderr)
        print("\n".join(f"  {line}" for line in lines), file=sys.stderr)
    else:
        print(f"error: {lines[0]}", file=sys.stderr)


def installed_registry() -> Registry:
    """All installed parts; plug-ins that failed are named on stderr, since their parts are missing."""
    registry = Registry.installed()
    for failure in registry.failures:
        print(
            f"warning: plug-in {failure.plugin.name} {failure.plugin.version} failed to load, its parts are missing:"
            f" {failure.reason} (zoo parts --debug shows the traceback)",
            file=sys.stderr,
        )
    return registry
