"""The ``zoo`` command. Importing this package does not import torch."""

from __future__ import annotations

import gc
import os
import sys
from collections import defaultdict
from importlib import metadata
from typing import Annotated

import typer

from zoo.cli.build import build
from zoo.cli.common import Commands, warn, warnings_in_lines
from zoo.cli.compare import compare
from zoo.cli.data import data
from zoo.cli.diagram import diagram
from zoo.cli.evaluate import evaluate
from zoo.cli.export import export
from zoo.cli.import_checkpoint import import_checkpoint
from zoo.cli.inflate import inflate
from zoo.cli.new_plugin import new_plugin
from zoo.cli.output import unread_output_dropped
from zoo.cli.parts import parts
from zoo.cli.plugins import is_without_loading, plugins
from zoo.cli.recipes import recipes
from zoo.cli.report import report
from zoo.cli.sample import sample
from zoo.cli.schema import schema
from zoo.cli.sweep import sweep
from zoo.cli.train import train
from zoo.errors import OutputError, PluginError
from zoo.plugin_loading import left_running, visit_plugins
from zoo.plugins import COMMANDS, Plugin, PluginProblem, claimed_twice, plugin_packages, unknown_plugins, zoo_version

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
app.command()(compare)
app.add_typer(data, name="data")
app.command()(diagram)
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


def add_plugin_commands() -> list[PluginProblem]:
    """Add the commands of installed plug-ins, and return what is wrong; a name that two of them claim is neither's."""
    taken = {info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands}
    taken |= {str(info.name) for info in app.registered_groups}
    packages = plugin_packages()
    owners: defaultdict[str, list[Plugin]] = defaultdict(list)
    for package in packages:
        for entry_point in () if package.is_idle else package.of(COMMANDS):
            owners[entry_point.name].append(package.plugin)

    def visit(plugin: Plugin, entry_point: metadata.EntryPoint) -> None:
        name = entry_point.name
        if name in taken:
            raise PluginError(f"command {name!r}: zoo has one already")
        if len(owners[name]) > 1:
            return
        loaded = entry_point.load()
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=name)
        elif callable(loaded):
            app.command(name)(loaded)
        else:
            raise PluginError(f"command {name!r}: {entry_point.value} is not callable")

    problems = [package.problem for package in packages if package.problem is not None]
    problems += visit_plugins(COMMANDS, packages, visit)
    problems += [
        claimed_twice(f"command {name!r}", [(plugin, str(plugin)) for plugin in plugins])
        for name, plugins in owners.items()
        if len(plugins) > 1 and name not in taken
    ]
    for line in unknown_plugins(packages):
        problems.append(PluginProblem((), line, line))
    return problems


def main() -> None:
    """Run ``zoo``."""
    with unread_output_dropped():
        code = _run()
        try:
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
    gc.freeze()  # or the interpreter searches all of torch for cycles before it ends, which takes a second
    sys.exit(code)


def _run() -> int:
    """Run the command, and tell its exit code."""
    try:
        problems = []
        if not is_without_loading(sys.argv[1:]):
            with warnings_in_lines():
                problems = add_plugin_commands()
        if sys.argv[1:2] != ["plugins"]:  # which lists them
            warn(problems, debug="--debug" in sys.argv)
        app(obj=problems)
    except KeyboardInterrupt as stop:
        print(" ".join(["interrupted", *map(str, stop.args)]), file=sys.stderr)
        return 130
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0
