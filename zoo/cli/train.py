"""``zoo train``: train a recipe, or go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, Device, PartsFiles, installed_registry
from zoo.cli.processes import start_if_several
from zoo.errors import ZooError
from zoo.recipe import Node, Recorded, read_tree, recorded_in
from zoo.recipe.merge import read_override

RUNS = Path("runs")


def train(
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            metavar="R",
            help="A path, or a name that `zoo recipes` lists; with --resume, the run's own if left out.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as train.batch=64. Repeatable."),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", metavar="D", file_okay=False, help="The run's folder. (default: runs/NAME)"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the newest sound checkpoint; with --recipe, begin a run where --run-dir holds none.",
        ),
    ] = False,
    procs: Annotated[
        int, typer.Option("--procs", min=1, metavar="N", help="Processes on this machine; torchrun does as well.")
    ] = 1,
    device: Device = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> bool:
    """Train a recipe; the run folder holds checkpoints, metrics, samples and the resolved recipe.

    Ctrl-C, SIGTERM, SIGHUP (unless ignored, as by nohup) or SIGUSR1 finishes the step, saves, and ends with exit code
    75; --resume goes on as if nothing had been.
    Across machines: torchrun --nnodes 2 --nproc-per-node 8 ... -m zoo train --recipe R.
    """
    given: Node | Recorded  # before torch is imported
    if recipe is not None:
        given = read_tree(recipe, overrides or ())
    elif not (resume and run_dir):
        raise ZooError("zoo train: give --recipe R, or --resume with --run-dir D; `zoo recipes` lists recipes")
    else:
        given = recorded_in(run_dir, overrides or ())
    start_if_several(procs)

    from zoo.assembly import check_recorded, check_tree
    from zoo.cli.progress import Progress
    from zoo.distributed.distributed import join_processes
    from zoo.distributed.failures import told_plainly
    from zoo.distributed.stopping import deaf_once_stopped
    from zoo.runs.run_folder import RunFolder
    from zoo.train.run import Run, Silent

    registry = installed_registry(parts)
    if isinstance(given, Recorded):
        checked = check_recorded(given, registry, ("backbone", "objective", "data", "train", "sample"))
    else:
        checked = check_tree(given, registry)
    folder = RunFolder(run_dir or own_folder(checked.name))
    options, asked = checked.train, [key for each in overrides or () for key in read_override(each).named]
    joined = join_processes(device, group=options.parallel == "fsdp", timeout=options.timeout)
    with joined as world, Progress() as progress:
        with told_plainly(), deaf_once_stopped():
            run = Run(checked, folder, registry, world, progress if world.is_main else Silent(), asked)
            run.train(resume=resume)
        if world.is_main:
            progress.finish(folder)
    return run.was_asked_to_stop


def own_folder(name: str) -> Path:
    """Where a run of this name goes.

    Raises:
        ZooError: it cannot be a folder's name.
    """
    if Path(name).name != name or name == ".." or not name.isprintable():
        raise ZooError(f"name: {name!a} cannot be a folder's; give --run-dir D")
    return RUNS / name
