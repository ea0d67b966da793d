"""``zoo sample``: draw images with a run's weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from zoo.classes import UNKNOWN, doubtful_labels, find_labels
from zoo.cli.common import (
    AtStep,
    Debug,
    Device,
    PartsFiles,
    Resume,
    WhichWeights,
    installed_registry,
    tell,
    tidy_when_stopped,
)
from zoo.cli.going_on import told_how_to_go_on
from zoo.cli.processes import start_if_several
from zoo.cli.run_or_file import check_overrides, classes_of, read_recipe_of, step_of
from zoo.errors import ZooError
from zoo.recipe import Recipe, Recorded
from zoo.recipe.source import Origin
from zoo.registry import Registry


@tidy_when_stopped()
def sample(
    run: Annotated[
        Path,
        typer.Option("--run", metavar="D", help="The folder of a run, or a weight file of zoo's.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", file_okay=False, help="A new folder for the images.", show_default=False),
    ],
    weights: WhichWeights = "ema",
    at_step: AtStep = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="CLASS,..",
            help="Classes, in turn: numbers or names, such as 3,cat; or attributes of an image, such as smiling=1."
            " Repeatable. (default: as sample.labels says)",
        ),
    ] = None,
    labels_file: Annotated[
        Path | None,
        typer.Option(
            "--labels-file",
            metavar="FILE",
            help="Labels, a row for each image, in turn: a .npy or .json file, or .npz or .safetensors by name.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="Images. (default: one for each label, or 64)")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Updates of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="One of `zoo parts --kind solver`.")] = None,
    guidance: Annotated[
        str | None, typer.Option("--guidance", metavar="S", help="One scale, or one for every stage: 1.0,3.0.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the noise.")] = 0,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value of `sample` or `data`. Repeatable."),
    ] = None,
    npz: Annotated[
        bool, typer.Option("--npz", help="Write samples.npz too, the array that ADM's evaluation suite reads.")
    ] = False,
    resume: Resume = False,
    procs: Annotated[int, typer.Option("--procs", min=1, metavar="N", help="Processes on this machine.")] = 1,
    device: Device = None,
    parts: PartsFiles = None,
    debug: Debug = False,
) -> None:
    """Draw images with the weights of a run or a file: PNG files, a grid, and samples.json, which says how it was done.

    What is left out is as the recipe of the run or file has it. The images are the same for any number of processes.
    """
    step = step_of(run, at_step)
    recorded = read_recipe_of(run, _with_short_options(overrides or (), steps, solver, guidance), step)
    check_overrides(overrides or (), ("sample", "data"))
    drawn_by = recorded.tree.nearest(("sample", "solver"))
    if solver is not None and Origin(f"--set sample.solver={solver}") not in drawn_by.origins():
        raise ZooError(f"--solver {solver}: a --set says which solver, too; leave one of them out")
    classes, texts = classes_of(run), tuple(labels or ())
    wanted: tuple[int, ...] = ()
    known: tuple[Registry, Recipe] | None = None
    try:
        wanted = find_labels(texts, classes)
    except ZooError:
        if classes != UNKNOWN:  # what labels say, then: to look at the parts takes a second
            raise
        known = _checked(recorded, parts)
        if not _takes_texts(known[1]):
            raise
    if labels and labels_file:
        raise ZooError("zoo sample: --labels and --labels-file both say what images are of; leave one of them out")
    start_if_several(procs)

    from zoo.distributed.distributed import join_processes
    from zoo.distributed.failures import told_plainly
    from zoo.labels import length
    from zoo.sampling.images import SampleRun, draw_samples
    from zoo.sampling.label_files import read_labels

    registry, checked = known or _checked(recorded, parts)
    texts, wanted = (texts, ()) if _takes_texts(checked) else ((), wanted)
    with join_processes(device) as world, told_plainly():
        # One process reads it: others may run where it is not.
        file = world.first(lambda: None if labels_file is None else read_labels(labels_file))
        request = SampleRun(
            run=run,
            out=out,
            weights=weights,
            step=step,
            labels=wanted,
            count=count or len(texts) or len(wanted) or (64 if file is None else length(file.labels)),
            seed=seed,
            npz=npz,
            resume=resume,
            label_file=file,
            texts=texts,
        )
        for note in doubtful_labels(labels or (), classes) if world.is_main and not texts else ():
            tell(f"note: {note}")
        with told_how_to_go_on(world, request.folder.request.exists):
            drawn = draw_samples(request, checked, registry, world)
        if world.is_main:
            images = f"{drawn} image{'s' * (drawn != 1)}"
            if drawn == request.count:
                told = f"wrote {images} and grid.png to {out}"
            elif drawn:
                told = f"wrote {images} to {out}, which holds all {request.count} now"
            else:
                told = f"{out}: holds all {request.count} images already"
            tell(told)


def _checked(recorded: Recorded, parts: list[Path] | None) -> tuple[Registry, Recipe]:
    """All parts, and the recipe of what draws."""
    from zoo.assembly import check_recorded

    registry = installed_registry(parts)
    return registry, check_recorded(recorded, registry, ("backbone", "data", "sample"))


def _takes_texts(recipe: Recipe) -> bool:
    """Whether the class conditioner makes labels of texts, which are then none of classes."""
    found: bool = recipe.backbone.spec("class_conditioner").entry.cls.parses()
    return found


def _with_short_options(
    overrides: Iterable[str], steps: int | None, solver: str | None, guidance: str | None
) -> list[str]:
    """All as overrides: the solver in front, since some may be of its options, and what is within a part behind."""
    before = [] if solver is None else [f"sample.solver={solver}"]
    behind = [] if steps is None else [f"sample.steps={steps}"]
    if guidance is not None:
        scales = _scales(guidance)
        behind.append(f"sample.guidance.scale={scales if len(scales) > 1 else scales[0]}")
    return [*before, *overrides, *behind]


def _scales(text: str) -> list[float]:
    try:
        scales = [float(each) for each in text.split(",")]
    except ValueError:
        scales = [-1.0]
    if not all(0.0 <= scale < math.inf for scale in scales):
        raise ZooError(
            f"--guidance {text}: write a scale of at least 0, or one for every stage with commas between them, such as"
            " 1.0,3.0; another kind of guidance is --set 'sample.guidance={type: cfg_zero, scale: 2.0}'"
        )
    return scales
