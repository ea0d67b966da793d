"""``zoo plan``: how long a training takes on a GPU, and whether it fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import Debug, Device, PartsFiles, console, installed_registry, tell
from zoo.errors import ZooError
from zoo.recipe import read_tree


def plan(
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", metavar="R", help="A path, or a name that `zoo recipes` lists."),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu",
            metavar="G",
            help="a100, h100, h200, l40s, rtx4090, or a file that --measure has written. (default: h100)",
        ),
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", metavar="N", min=1, max=100_000, help="How many.")] = 1,
    images: Annotated[
        float | None,
        typer.Option("--images", metavar="N", min=1, help="Images of the data, such as 1.28e6. Needs --epochs."),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option("--epochs", metavar="E", help="How often to train on them. (default: train.steps updates)"),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as train.batch=1024. Repeatable."),
    ] = None,
    measure: Annotated[
        Path | None,
        typer.Option(
            "--measure",
            metavar="FILE",
            dir_okay=False,
            help="Time what this machine does at best, for half a minute, and write FILE (.json) for --gpu.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    device: Device = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Tell what a training takes: time of a step, images/s, memory, the batch that fits, days, checkpoints, samples.

    It is a model, not a measurement: every matrix product, attention and elementwise operator of a step, which is run
    on no data at all, takes what the device's figures say. Docs: Train at scale.
    """
    if recipe is None and measure is None:
        raise ZooError("zoo plan: give --recipe R, or --measure FILE; `zoo recipes` lists recipes")
    if measure is not None and (gpu is not None or recipe is not None):
        raise ZooError("--measure FILE times this machine and nothing else; plan on it then, by --gpu FILE")
    if measure is None and device is not None:
        raise ZooError("--device goes with --measure; what to plan for is said by --gpu")
    if (images is None) != (epochs is None):
        raise ZooError("--images and --epochs say together how long to train; give both, or neither")
    for name, given in (("--images", images), ("--epochs", epochs)):
        if given is not None and not 0 < given < 1e12:
            raise ZooError(f"{name} {given:g}: should be more than 0, and less than 1e12")

    from rich.console import Console

    from zoo.plan import load_device, work_of
    from zoo.plan import measure as measured
    from zoo.plan import plan as planned
    from zoo.plan.printing import print_plan
    from zoo.weights import refuse_existing

    waiting = Console(stderr=True)
    if measure is not None:
        if measure.suffix != ".json":
            raise ZooError(f"{measure}: should end in .json, for --gpu to know it")
        refuse_existing(measure)
        from zoo.distributed.distributed import join_processes, refuse_several

        with join_processes(device) as world, waiting.status("timing") as status:
            refuse_several(world, "plan")
            found = measured(world.device, lambda what: status.update(f"timing {what}"))
        found.write(measure)
        tell(f"wrote {measure}: {found.name}")
        return
    assert recipe is not None, "refused above"
    tree = read_tree(recipe, overrides or ())
    where = load_device(gpu or "h100")
    from zoo.assembly import check_tree

    loaded = check_tree(tree, installed_registry(parts))
    with waiting.status("planning"):
        work = work_of(loaded, gpus)
    result = planned(work, where, images=None if images is None or epochs is None else images * epochs)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        print_plan(console(), result)
