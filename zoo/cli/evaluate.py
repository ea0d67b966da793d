"""``zoo eval``: how good the samples of a run are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.common import (
    AtStep,
    Debug,
    Device,
    PartsFiles,
    Resume,
    WhichWeights,
    console,
    installed_registry,
    tell,
    tidy_when_stopped,
    warn_of,
)
from zoo.cli.going_on import told_how_to_go_on
from zoo.cli.processes import start_if_several
from zoo.cli.run_or_file import check_overrides, read_recipe_of, step_of
from zoo.errors import RunError


@tidy_when_stopped()
def evaluate(
    run: Annotated[
        Path,
        typer.Option("--run", metavar="D", help="The folder of a run, or a weight file of zoo's.", show_default=False),
    ],
    count: Annotated[int | None, typer.Option("--count", min=2, metavar="N", help="Images. (default: 500)")] = None,
    with_controls: Annotated[
        bool, typer.Option("--controls", help="Judge noise, class means, shuffled labels and a copy as well.")
    ] = False,
    weights: WhichWeights = "ema",
    at_step: AtStep = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the noise.")] = 0,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value of `sample`, `data` or `evaluate`."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="Write figures and record as JSON.")
    ] = None,
    resume: Resume = False,
    procs: Annotated[int, typer.Option("--procs", min=1, metavar="N", help="Processes on this machine.")] = 1,
    device: Device = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Draw images and compare them with the real ones: figures, beside those of real images that training has not seen.

    No single figure tells a good model: class means are read as asked, and shuffled labels are as varied as real
    images. --controls shows which figure each of such impostors fails. A run keeps what was found, in its
    folder. The images are the same for any number of processes.
    """
    check_overrides(overrides or (), ("sample", "data", "evaluate"))
    own = [*(overrides or ()), *([] if count is None else [f"evaluate.count={count}"])]
    step = step_of(run, at_step)
    recorded = read_recipe_of(run, own, step)
    start_if_several(procs)

    from zoo.assembly import check_recorded
    from zoo.distributed.distributed import join_processes
    from zoo.distributed.failures import told_plainly
    from zoo.evaluate.evaluation import Evaluation, features_for
    from zoo.evaluate.evaluation import evaluate as judged
    from zoo.evaluate.kept_features import KeptFeatures
    from zoo.files import write_whole
    from zoo.report.printing import print_figures
    from zoo.runs.run_folder import load_run
    from zoo.runs.shared_weights import read_by_one
    from zoo.runs.weights import WeightsSource, find_weights
    from zoo.weights import refuse_existing

    registry = installed_registry(parts)
    recipe = check_recorded(recorded, registry, ("backbone", "data", "sample", "evaluate"))
    features_for(recipe)  # before weights are read
    kept = KeptFeatures(run / "evaluations" if run.is_dir() else None if out is None else out.parent)

    source: WeightsSource | None = None

    def going_on() -> list[str]:
        """Options; while a run is trained further, its newest checkpoint may soon be another."""
        checkpoint = None if step is not None or source is None else source.checkpoint
        return ["--resume"] if checkpoint is None else ["--resume", "--step", str(checkpoint.step)]

    written: list[Path] = []

    def show(found: Evaluation) -> None:
        for path in written:
            tell(f"wrote {path}")
        for metric, reason in found.record["left_out"].items():
            warn_of(f"{metric} is left out: {reason}")
        for doubt in found.record["doubts"]:
            warn_of(doubt)
        print_figures(console(), recipe, found.figures, found.record)

    def unwritten(error: RunError) -> RunError:
        go_on = (
            f"; what has been drawn is kept: mend it, and add {' '.join(going_on())} to go on" if kept.are_some else ""
        )
        return RunError(f"{error}{go_on}")

    def write(found: Evaluation) -> None:
        """Before features go, and before anything is printed."""
        if out is not None:
            try:
                write_whole(out, json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n", RunError)
            except RunError as error:
                raise unwritten(error) from error
            written.append(out)
        if run.is_dir():
            try:
                written.append(load_run(run).write_evaluation(found.to_dict()))
            except RunError as error:
                if out is None and kept.are_some:
                    show(found)
                    raise unwritten(error) from error
                warn_of(str(error))  # somebody else's run, perhaps

    with join_processes(device) as world:
        if out is not None:
            world.first(lambda: refuse_existing(out))
        with told_plainly(), told_how_to_go_on(world, lambda: kept.are_some, going_on):
            # One process chooses: while a run goes on, others may see another newest checkpoint.
            source = world.first(lambda: find_weights(run, weights=weights, step=step))
            for problem in source.passed_over() if world.is_main else ():
                warn_of(problem)
            given = read_by_one(source, registry, world)
            found = judged(
                given,
                recipe,
                world,
                registry=registry,
                seed=seed,
                with_controls=with_controls,
                kept=kept,
                resume=resume,
                write=write,
            )
        if world.is_main:
            show(found)
