"""``zoo eval``: how good the samples of a run are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

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
from zoo.errors import RunError, ZooError
from zoo.recipe import Recorded, read_tree

if TYPE_CHECKING:
    from zoo.evaluate.beside import Evaluation
    from zoo.recipe import Node, Recipe


@tidy_when_stopped()
def evaluate(
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="D", help="The folder of a run, or a weight file of zoo's.", show_default=False),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples",
            metavar="S",
            help="Judge pictures that are there, of whatever program, in place of drawing: a folder, or an .npz file."
            " --recipe, or --run, says what they are compared with.",
        ),
    ] = None,
    recipe_of_samples: Annotated[
        str | None,
        typer.Option("--recipe", "-r", metavar="R", help="With --samples: a path, or a name that `zoo recipes` lists."),
    ] = None,
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
    check_overrides(overrides or (), ("data", "evaluate") if samples else ("sample", "data", "evaluate"))
    if samples is not None:
        other = None if weights == "ema" else weights
        drawn_by = {"--count": count, "--step": at_step, "--weights": other, "--resume": resume or None}
        for option, value in drawn_by.items():
            if value is not None:
                raise ZooError(
                    f"zoo eval: {option} is of images that are drawn, and --samples draws none; leave one out"
                )
        tree = _tree_of(run, recipe_of_samples, overrides or ())
        start_if_several(procs)
        _judge_pictures(samples, tree, seed, with_controls, out, device, parts)
        return
    if recipe_of_samples is not None:
        raise ZooError("zoo eval: --recipe goes with --samples; a run or a weight file, --run, has its own recipe")
    if run is None:
        raise ZooError("zoo eval: give --run, a run's folder or a weight file; or --samples and --recipe")
    own = [*(overrides or ()), *([] if count is None else [f"evaluate.count={count}"])]
    step = step_of(run, at_step)
    recorded = read_recipe_of(run, own, step)
    start_if_several(procs)

    from zoo.assembly import check_recorded
    from zoo.distributed.distributed import join_processes
    from zoo.distributed.failures import told_plainly
    from zoo.evaluate.beside import features_for
    from zoo.evaluate.evaluation import evaluate as judged
    from zoo.evaluate.kept_features import KeptFeatures
    from zoo.files import write_whole
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
        _show(recipe, found)

    def unwritten(error: RunError) -> RunError:
        go_on = (
            f"; what has been drawn is kept: mend it, and add {' '.join(going_on())} to go on" if kept.are_some else ""
        )
        return RunError(f"{error}{go_on}")

    def write(found: Evaluation) -> None:
        """Before features go, and before anything is printed."""
        if out is not None:
            try:
                write_whole(out, found.to_json(), RunError)
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


def _tree_of(run: Path | None, recipe: str | None, overrides: Sequence[str]) -> Recorded | Node:
    """The recipe that says what samples are compared with; not yet checked."""
    if (run is None) == (recipe is None):
        raise ZooError(
            "zoo eval: --samples goes with --recipe, or --run, and one of them; it says what to compare with"
        )
    return read_tree(recipe, overrides) if recipe is not None else read_recipe_of(cast(Path, run), overrides)


def _judge_pictures(
    samples: Path,
    given: Recorded | Node,
    seed: int,
    with_controls: bool,
    out: Path | None,
    device: str | None,
    parts: Sequence[Path] | None,
) -> None:
    """What ``--samples`` does."""
    from zoo.assembly import check_recorded, check_tree
    from zoo.distributed.distributed import join_processes
    from zoo.distributed.failures import told_plainly
    from zoo.evaluate.of_pictures import evaluate_pictures
    from zoo.files import write_whole
    from zoo.weights import refuse_existing

    registry = installed_registry(parts)
    needs = ("data", "evaluate")
    recipe = check_recorded(given, registry, needs) if isinstance(given, Recorded) else check_tree(given, registry)
    with join_processes(device) as world:
        if out is not None:
            world.first(lambda: refuse_existing(out))
        with told_plainly():
            found = evaluate_pictures(samples, recipe, world, seed=seed, with_controls=with_controls)
        if world.is_main:
            _show(recipe, found)
        if out is not None:
            world.first(lambda: write_whole(out, found.to_json(), RunError))
            if world.is_main:
                tell(f"wrote {out}")


def _show(recipe: Recipe, found: Evaluation) -> None:
    from zoo.report.printing import print_figures

    for metric, reason in found.record["left_out"].items():
        warn_of(f"{metric} is left out: {reason}")
    for doubt in found.record["doubts"]:
        warn_of(doubt)
    print_figures(console(), recipe, found.figures, found.record)
