"""``zoo compare``: assemblies side by side, in numbers and in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, Device, PartsFiles, installed_registry
from zoo.cli.run_or_file import check_overrides
from zoo.errors import ZooError
from zoo.recipe import holds_run, read_tree

PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", dir_okay=False, help="Draw a Pareto plot: .png, .svg or .html (with table)."
    ),
]
XOption = Annotated[
    str | None,
    typer.Option(
        "--x", metavar="A", help="Of the plot: params, macs, image_macs, activation_bytes, or a figure of runs."
    ),
]
YOption = Annotated[str | None, typer.Option("--y", metavar="A", help="Likewise. (default: fid_relative, or params)")]


def compare(
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="R1 R2 ...", help="Recipes: paths, or names that `zoo recipes` lists.", show_default=False
        ),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs",
            metavar="D1 D2 ...",
            help="Folders of runs: their quality, and their images/s. One that is not judged yet is judged first, which"
            " takes as long as `zoo eval`.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of every recipe; of runs, only of `sample`, `data` and `evaluate`. Repeatable.",
        ),
    ] = None,
    plot: PlotOption = None,
    x: XOption = None,
    y: YOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    device: Device = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Compare assemblies: parameters, multiply-adds, tokens, memory; and of runs, quality and speed.

    Runs of one recipe that differ in their seeds alone make one row, with means and deviations. A run that has not been
    judged, or beside other data, is judged now, as `zoo eval` does. What one that cannot be judged costs is shown; at
    the end, the exit code is that of the first such run.
    """
    names, folders = _told_apart(given or (), runs or ())
    if not (names or folders):
        raise ZooError("zoo compare: give recipes, or --runs with the folders of runs; `zoo recipes` lists recipes")
    if folders:
        check_overrides(overrides or (), ("sample", "data", "evaluate"))
    trees = [read_tree(name, overrides or ()) for name in names]

    from rich.console import Console
    from rich.progress import track

    from zoo.assembly import check_tree
    from zoo.cli.comparison import refuse_plot, show
    from zoo.distributed.distributed import join_processes, refuse_several
    from zoo.distributed.failures import told_plainly
    from zoo.report.comparison import Comparison
    from zoo.runs.run_folder import load_run

    refuse_plot(plot)
    registry = installed_registry(parts)
    recipes = [check_tree(tree, registry) for tree in trees]
    with join_processes(device) as world, told_plainly():
        refuse_several(world, "compare")
        comparison = Comparison(recipes, [load_run(folder) for folder in folders], overrides or (), registry, world)
        terminal = Console(stderr=True)
        hidden = bool(folders) or not terminal.is_terminal  # a run that is judged has a bar of its own
        counted = track(
            comparison.entries(), "counting", len(comparison), console=terminal, disable=hidden, transient=True
        )
        entries = list(counted)
    show(entries, registry, comparison.problems, path=plot, x=x, y=y, as_json=as_json)


def _told_apart(given: list[str] | tuple[()], runs: list[Path] | tuple[()]) -> tuple[list[str], list[Path]]:
    """Recipes and runs: the shell gives `--runs` one value, so that further runs come as if they were recipes."""
    folders = list(runs)
    names = []
    for each in given:
        if holds_run(Path(each)):
            folders.append(Path(each))
        else:
            names.append(each)
    return names, folders
