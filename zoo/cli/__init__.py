"""The ``zoo`` command. Importing this package does not import torch."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated

import typer

from zoo.cli.build import build
from zoo.cli.check import check
from zoo.cli.common import Commands, tell, warn, warn_of
from zoo.cli.compare import compare
from zoo.cli.data import data
from zoo.cli.demo import demo
from zoo.cli.diagram import diagram
from zoo.cli.ema import ema
from zoo.cli.evaluate import evaluate
from zoo.cli.export import export
from zoo.cli.import_checkpoint import import_checkpoint
from zoo.cli.inflate import inflate
from zoo.cli.latents import latents
from zoo.cli.new_plugin import new_plugin
from zoo.cli.output import unread_output_dropped
from zoo.cli.parts import parts
from zoo.cli.plan import plan
from zoo.cli.plugin_commands import PluginCommands
from zoo.cli.plugins import plugins
from zoo.cli.recipes import recipes
from zoo.cli.report import report
from zoo.cli.sample import sample
from zoo.cli.schema import schema
from zoo.cli.slowness import wait_asleep
from zoo.cli.sweep import sweep
from zoo.cli.train import train
from zoo.errors import OutputError
from zoo.plugin_loading import left_running, see_to_the_end
from zoo.plugins import plugin_packages, unknown_plugins, zoo_version
from zoo.signals import handled, interrupt_from_here

app = typer.Typer(
    name="zoo",
    cls=Commands,
    help="Compose diffusion backbones from plug-in parts, tell what they cost, train them and draw samples.",
    epilog="Start with: zoo build --recipe mpdit_b --flops",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Command = Callable[..., object]

COMMANDS: Mapping[str, Sequence[tuple[str, Command, str]]] = {
    "Look": (
        ("demo", demo, "zoo demo"),
        ("build", build, "zoo build --recipe mpdit_b --flops --against dit_b"),
        ("compare", compare, "zoo compare dit_b mpdit_b ppflow_b_2 hybrid_b"),
        ("plan", plan, "zoo plan --recipe hybrid_xl --gpu h100 --gpus 8"),
        ("diagram", diagram, "zoo diagram --recipe hybrid_b --out hybrid_b.svg"),
        ("recipes", recipes, "zoo recipes"),
        ("parts", parts, "zoo parts --kind upsampler"),
        ("schema", schema, "zoo schema > zoo.schema.json"),
    ),
    "Train, draw, judge": (
        ("train", train, "zoo train --recipe digits_hybrid --set train.batch=64"),
        ("sample", sample, "zoo sample --run runs/digits_hybrid --count 100 --out images"),
        ("eval", evaluate, "zoo eval --run runs/digits_hybrid --controls"),
        ("report", report, "zoo report --run runs/digits_hybrid"),
        ("sweep", sweep, "zoo sweep --recipe mpdit_b --vary backbone.upsampler=all"),
        ("ema", ema, "zoo ema --run runs/digits_hybrid --std 0.08 --out w.safetensors"),
        ("latents", latents, "zoo latents pictures --vae stabilityai/sd-vae-ft-ema --out latents"),
    ),
    "Weights of others": (
        ("import", import_checkpoint, "zoo import SiT-XL-2-256x256.pt --recipe sit_xl --out sit.safetensors"),
        ("export", export, "zoo export runs/ppflow_xl_2 --to ppflow --out ppflow_xl_2.pt"),
        ("inflate", inflate, "zoo inflate runs/digits_dit -r digits_ppflow --out w.safetensors"),
    ),
    "Plug in": (
        ("new-plugin", new_plugin, "zoo new-plugin my-parts --kind block,upsampler"),
        ("check", check, "zoo check my-parts"),
        ("plugins", plugins, "zoo plugins"),
    ),
}
"""The commands by what people do, each with an example."""


def _register() -> None:
    for panel, commands in COMMANDS.items():
        for name, command, example in commands:
            app.command(name, rich_help_panel=panel, epilog=f"Example: {example}")(command)
    app.add_typer(data, name="data", rich_help_panel="Train, draw, judge")


_register()


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
    own = {name for commands in COMMANDS.values() for name, _, _ in commands} | {"data"}
    return PluginCommands(packages, own)


def main() -> None:
    """Run ``zoo``."""
    wait_asleep(os.environ)
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
            from zoo.distributed.launch import leave_exit_code

            leave_exit_code(code)
            is_waited_for = True
        if is_waited_for:
            sys.stderr.flush()
            os._exit(code)
    atexit.register(_leave_the_output)
    with handled([signal.SIGINT], lambda *_: os._exit(code)):  # all is done, and nobody catches Ctrl-C here
        see_to_the_end(code, tell)
        gc.freeze()  # or the interpreter searches all of torch for cycles before it ends, which takes a second
    sys.exit(code)


def _leave_the_output() -> None:
    """Let what plug-ins print as the interpreter ends, of which this is first, be no part of the output."""
    sys.stdout = sys.stderr


def _run() -> int:
    """Run the command, and tell its exit code."""
    try:
        interrupt_from_here()
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
