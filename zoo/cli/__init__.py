"""The ``zoo`` command. Importing this package does not import torch."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from zoo.cli.build import build
from zoo.cli.check import check
from zoo.cli.common import Commands, tell, warn, warn_of
from zoo.cli.compare import compare
from zoo.cli.data import data
from zoo.cli.diagram import diagram
from zoo.cli.ema import ema
from zoo.cli.evaluate import evaluate
from zoo.cli.export import export
from zoo.cli.import_checkpoint import import_checkpoint
from zoo.cli.inflate import inflate
from zoo.cli.new_plugin import new_plugin
from zoo.cli.output import unread_output_dropped
from zoo.cli.parts import parts
from zoo.cli.plugin_commands import PluginCommands
from zoo.cli.plugins import plugins
from zoo.cli.recipes import recipes
from zoo.cli.report import report
from zoo.cli.sample import sample
from zoo.cli.schema import schema
from zoo.cli.sweep import sweep
from zoo.cli.train import train
from zoo.errors import OutputError
from zoo.plugin_loading import left_running, see_to_the_end
from zoo.plugins import plugin_packages, unknown_plugins, zoo_version
from zoo.signals import interrupt_as_ever

app = typer.Typer(
    name="zoo",
    cls=Commands,
    help="Compose diffusion backbones from plug-in parts, tell what they cost, train them and draw samples.",
    epilog="Start with: zoo build --recipe mpdit_b.yaml --flops",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(build)
app.command()(check)
app.command()(compare)
app.add_typer(data, name="data")
app.command()(diagram)
app.command()(ema)
app.command("eval")(evaluate)
app.command()(export)
app.command("import")(import_checkpoint)
app.command()(inflate)
app.command()(new_plugin)
app.command()(parts)
app.command()(plugins)
app.command()(recipes)
app.command()(report)
app.command()(sample)
app.command()(schema)
app.command()(sweep)
app.command()(train)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"zoo {zoo_version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of ``zoo`` itself."""


def plugin_commands() -> PluginCommands:
    """Those of installed packages. The packages that are left out are named on stderr."""
    packages = plugin_packages()
    if sys.argv[1:2] != ["plugins"]:  # which lists them
        warn([package.problem for package in packages if package.problem is not None])
        for line in unknown_plugins(packages):
            warn_of(line)
    own = {info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands}
    return PluginCommands(packages, own | {str(info.name) for info in app.registered_groups})


def main() -> None:
    """Run ``zoo``."""
    with unread_output_dropped() as own:
        code = _run()
        sys.stdout, sys.stderr = own  # whatever a plug-in has put in their place
        try:
            with suppress(ValueError):  # a plug-in has detached it, and what it held went then
                sys.stdout.flush()
        except OutputError as error:
            print(f"error: {error}", file=sys.stderr)
            code = code or error.exit_code
        is_waited_for = any(thread.is_alive() for thread in left_running)
        if "WORLD_SIZE" in os.environ:  # taking a process group apart with the interpreter can wait for ever
            from zoo.train.launch import leave_exit_code

            leave_exit_code(code)
            is_waited_for = True
        if is_waited_for:
            sys.stderr.flush()
            os._exit(code)
    atexit.register(_leave_the_output)
    see_to_the_end(code, tell)
    gc.freeze()  # or the interpreter searches all of torch for cycles before it ends, which takes a second
    sys.exit(code)


def _leave_the_output() -> None:
    """Let what plug-ins print as the interpreter ends, of which this is first, be no part of the output."""
    sys.stdout = sys.stderr


def _run() -> int:
    """Run the command, and tell its exit code."""
    try:
        interrupt_as_ever()
        app(obj=plugin_commands())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0
