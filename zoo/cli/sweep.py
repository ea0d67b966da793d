"""``zoo sweep``: the table of a grid of recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import ARecipe, Debug, Device, PartsFiles, installed_registry, tell, tidy_when_stopped
from zoo.cli.compare import PlotOption, XOption, YOption
from zoo.cli.train import own_folder
from zoo.errors import ZooError
from zoo.recipe import read_tree


@tidy_when_stopped()
def sweep(
    recipe: ARecipe,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="KEY=A,B",
            help="Values of a key, or `all` parts of its kind that need no option, such as backbone.upsampler=all or"
            " backbone.block.mlp=all. Repeatable: a grid.",
            show_default=False,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of all combinations, or of those with the part that it is an option of. Repeatable.",
        ),
    ] = None,
    with_training: Annotated[
        bool, typer.Option("--train", help="Train each combination, one after the other, and judge its samples.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            file_okay=False,
            help="Of the runs, with --train. (default: runs/sweep_NAME)",
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
    """Count every combination of a grid, and with --train, train and judge each: one table.

    The same command again goes on where it was stopped, and trains nothing twice. A combination that cannot be built or
    trained is told, and the others go on; at the end, the exit code is that of the first that failed.
    """
    if out is not None and not with_training:
        raise ZooError(f"--out {out}: is of the runs; give --train, or leave it out")
    tree = read_tree(recipe, overrides or ())

    from zoo.cli.comparison import refuse_plot, show
    from zoo.cli.progress import Progress
    from zoo.distributed.distributed import join_processes, refuse_several
    from zoo.distributed.stopping import deaf_once_stopped
    from zoo.report.comparison import Problem
    from zoo.report.sweep import read_variation
    from zoo.report.sweep_run import Sweep

    refuse_plot(plot)
    registry = installed_registry(parts)
    variations = [read_variation(each, tree, registry) for each in vary]
    for variation in variations:
        if variation.left_out is not None:
            tell(variation.left_out)
    assert isinstance(tree.value, dict)
    name = str(tree.value["name"].value)  # of a recipe that may be none without the values of a combination
    folder = out or own_folder(f"sweep_{name}")
    plan = Sweep(recipe, overrides or (), variations, registry)
    count = len(plan.combinations())
    entries, problems = [], []
    with deaf_once_stopped(), join_processes(device) as world:
        refuse_several(world, "sweep")
        found = plan.train(folder, world, Progress) if with_training else plan.count()
        for place, each in enumerate(found, start=1):
            if each.entry is not None:
                entries.append(each.entry)
            if each.problem is not None:
                problems.append((each.name, each.problem))
            words = "done" if each.problem is None else "; ".join(str(each.problem).splitlines())
            tell(f"{place}/{count} {each.name}: {words}")
    if not entries:
        raise ZooError(f"{name}: no combination can be built and counted; what is wrong with each stands above")
    failed = f"{len(problems)} of {count} failed: {'; '.join(failed for failed, _ in problems)}"
    told = [Problem(failed, problem.exit_code) for _, problem in problems[:1]]
    show(entries, registry, told, path=plot, x=x, y=y, as_json=as_json)
