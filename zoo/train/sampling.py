"""What ``zoo sample`` does: weights of a run or a file, images in a folder, and a record of how they were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from zoo.backbone import Backbone
from zoo.errors import RunError, ZooError
from zoo.files import write_whole
from zoo.plugins import zoo_version
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.train import checkpoint as checkpoints
from zoo.train.distributed import World
from zoo.train.drawing import Drawing, check_guidance, prepare_drawing
from zoo.train.labels import Labels, labels_for, wanted_labels
from zoo.train.pictures import grid, read_png, write_npz, write_png
from zoo.train.weights import find_weights
from zoo.weights import Weights, Which, filled, refuse_other_backbone

GRID = 100
"""Images of the grid at most."""


@dataclass(frozen=True)
class SampleRun:
    """What is asked for.

    Attributes:
        run: the folder of a run, or a weight file.
        out: a folder that does not exist, or is empty.
        weights: of a run, averaged or the last.
        labels: classes that are drawn in turn; as the recipe says if empty.
        count: images.
        seed: of the noise.
        npz: whether to write the array that ADM's evaluation suite reads.
    """

    run: Path
    out: Path
    weights: Which
    labels: tuple[int, ...]
    count: int
    seed: int
    npz: bool


def draw_samples(request: SampleRun, recipe: Recipe, registry: Registry, world: World) -> None:
    """Draw images on all processes, each in whole batches; image i is the same for any number of them.

    Args:
        request: what is asked for.
        recipe: the run's, with the ``sample`` section to draw with.
        registry: the parts to choose from.
        world: this process among those of the job.

    Raises:
        ZooError: the folder is not empty, or a label is no class.
        DataError: labels are the dataset's, and it cannot be read.
        RunError: there is no sound checkpoint, or a file cannot be written.
        WeightsError: the weight file cannot be used.
    """
    # One process chooses: while a run goes on, others may see another newest one.
    found = world.first(lambda: find_weights(request.run, weights=request.weights))
    terminal = Console(stderr=True, highlight=False)
    if world.is_main:
        for problem in found.passed_over():
            terminal.print(f"warning: {problem}", markup=False, soft_wrap=True)
    with world.together():
        weights = found.read(registry)
        refuse_other_backbone(found.where, weights.recipe, recipe)
        backbone = filled(weights, world.device)
        drawing = prepare_drawing(recipe, len(backbone.stages), request.seed)
        whole = -(-request.count // drawing.batch)  # a solver of adaptive steps looks at the whole batch
        check_guidance(recipe, backbone)
        if request.npz and drawing.dataset.preview is not None:
            raise ZooError(f"--npz: {drawing.dataset.preview}")
    labels: Labels = world.first(lambda: _labels(request, drawing, backbone, whole * drawing.batch))
    if world.is_main:
        for warning in _warnings(drawing):
            terminal.print(f"warning: {warning}", markup=False, soft_wrap=True)
    world.first(lambda: _make_folder(request.out))
    batches = range(world.rank, whole, world.size)
    hidden = not (world.is_main and terminal.is_terminal)
    with world.together(request.out):
        for batch in track(batches, "drawing", console=terminal, disable=hidden):
            images = drawing.images(backbone, labels.values, batch, request.count)
            for index, image in enumerate(images, start=batch * drawing.batch):
                write_png(image, _path(request.out, index))
    world.first(lambda: _finish(request, recipe, weights, labels))


def _labels(request: SampleRun, drawing: Drawing, backbone: Backbone, count: int) -> Labels:
    conditioner = backbone.class_conditioner
    if request.labels:
        return wanted_labels(conditioner, count, request.labels)
    choice = drawing.recipe.sample.labels
    return labels_for(conditioner, count, choice, request.seed, drawing.samples)


def _warnings(drawing: Drawing) -> Iterator[str]:
    if drawing.dataset.preview is not None:
        yield drawing.dataset.preview
    if not drawing.guidance.is_none and drawing.recipe.objective.label_dropout == 0.0:
        yield "guidance compares with no label, which training has never seen: objective.label_dropout was 0"


def _make_folder(out: Path) -> None:
    if out.is_file():
        raise ZooError(f"{out}: is a file; choose a folder")
    if out.exists() and any(out.iterdir()):
        raise ZooError(f"{out}: is not empty; choose another folder, or remove it first")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made: {error.strerror}") from error


def _finish(request: SampleRun, recipe: Recipe, weights: Weights, labels: Labels) -> None:
    paths = [_path(request.out, index) for index in range(request.count)]
    write_png(grid([read_png(path) for path in paths[:GRID]]), request.out / "grid.png")
    if request.npz:
        write_npz((read_png(path) for path in paths), len(paths), request.out / "samples.npz")
    record = {
        **weights.source,
        "sample": recipe.sample.resolved(),
        "seed": request.seed,
        "count": request.count,
        **labels.record(request.count),
        "zoo": zoo_version(),
        "plugins": recipe.plugins(),
        "torch": torch.__version__,
    }
    write_whole(request.out / "samples.json", checkpoints.to_json(record), RunError)


def _path(out: Path, index: int) -> Path:
    return out / f"{index:06d}.png"
