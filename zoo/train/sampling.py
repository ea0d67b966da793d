"""What ``zoo sample`` does: a run's weights, images in a folder, and a record of how they were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track

from zoo.assembly import build
from zoo.backbone import Backbone
from zoo.errors import RunError, ZooError
from zoo.plugins import zoo_version
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.train import checkpoint as checkpoints
from zoo.train.distributed import World
from zoo.train.drawing import Drawing, check_guidance, labels_for, prepare_drawing
from zoo.train.pictures import grid, read_png, write_npz, write_png
from zoo.train.run_folder import load_run
from zoo.train.state import AVERAGE, MODEL

GRID = 100
"""Images of the grid at most."""


@dataclass(frozen=True)
class SampleRun:
    """What is asked for.

    Attributes:
        run: the folder of a run.
        out: a folder that does not exist, or is empty.
        weights: averaged, or the last.
        labels: classes that are drawn in turn; all if empty.
        count: images.
        seed: of the noise.
        npz: whether to write the array that ADM's evaluation suite reads.
    """

    run: Path
    out: Path
    weights: Literal["ema", "raw"]
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
        RunError: there is no sound checkpoint, or a file cannot be written.
    """
    # One process chooses: while a run goes on, others may see another newest one.
    found, problems = world.first(lambda: _checkpoint(request.run))
    terminal = Console(stderr=True, highlight=False)
    if world.is_main:
        for problem in problems:
            terminal.print(f"warning: {problem}; {found.path.name} is taken", markup=False, soft_wrap=True)
    with world.together():
        backbone = load_backbone(found, request.weights, recipe, registry, world.device)
        drawing = prepare_drawing(recipe, registry, len(backbone.stages), request.seed)
        whole = -(-request.count // drawing.batch)  # a solver of adaptive steps looks at the whole batch
        check_guidance(recipe, backbone)
        labels = labels_for(backbone, whole * drawing.batch, request.labels)
        if request.npz and drawing.dataset.preview is not None:
            raise ZooError(f"--npz: {drawing.dataset.preview}")
    if world.is_main:
        for warning in _warnings(drawing):
            terminal.print(f"warning: {warning}", markup=False, soft_wrap=True)
    world.first(lambda: _make_folder(request.out))
    batches = range(world.rank, whole, world.size)
    hidden = not (world.is_main and terminal.is_terminal)
    with world.together(request.out):
        for batch in track(batches, "drawing", console=terminal, disable=hidden):
            images = drawing.images(backbone, labels, batch, request.count)
            for index, image in enumerate(images, start=batch * drawing.batch):
                write_png(image, _path(request.out, index))
    world.first(lambda: _finish(request, recipe, registry, found, labels[: request.count]))


def _warnings(drawing: Drawing) -> Iterator[str]:
    if drawing.dataset.preview is not None:
        yield drawing.dataset.preview
    if not drawing.guidance.is_none and drawing.recipe.objective.label_dropout == 0.0:
        yield "guidance compares with no label, which training has never seen: objective.label_dropout was 0"


def load_backbone(
    found: checkpoints.Checkpoint,
    weights: Literal["ema", "raw"],
    recipe: Recipe,
    registry: Registry,
    device: torch.device,
) -> Backbone:
    """The backbone of a checkpoint, in evaluation mode."""
    backbone = build(recipe, registry=registry, device="meta").to_empty(device=device)
    try:
        backbone.load_state_dict(found.tensors(AVERAGE if weights == "ema" else MODEL))
    except RuntimeError as error:
        raise RunError(f"{found.path}: does not fit the run's recipe: {str(error).splitlines()[-1].strip()}") from error
    return backbone.eval()


def _checkpoint(run: Path) -> tuple[checkpoints.Checkpoint, list[str]]:
    found, problems = checkpoints.latest(load_run(run).checkpoints)
    if found is None:
        reason = "; ".join(problems) or "none has been written yet"
        raise RunError(f"{run}: there is no sound checkpoint: {reason}")
    return found, problems


def _make_folder(out: Path) -> None:
    if out.is_file():
        raise ZooError(f"{out}: is a file; choose a folder")
    if out.exists() and any(out.iterdir()):
        raise ZooError(f"{out}: is not empty; choose another folder, or remove it first")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made: {error.strerror}") from error


def _finish(
    request: SampleRun, recipe: Recipe, registry: Registry, found: checkpoints.Checkpoint, labels: torch.Tensor
) -> None:
    paths = [_path(request.out, index) for index in range(request.count)]
    write_png(grid([read_png(path) for path in paths[:GRID]]), request.out / "grid.png")
    if request.npz:
        write_npz((read_png(path) for path in paths), len(paths), request.out / "samples.npz")
    record = {
        "run": str(request.run),
        "checkpoint": found.path.name,
        "weights": request.weights,
        "weights_sha256": found.digest(AVERAGE if request.weights == "ema" else MODEL),
        "sample": recipe.sample.resolved(),
        "seed": request.seed,
        "count": request.count,
        "labels": labels.tolist(),
        "zoo": zoo_version(),
        "plugins": registry.versions(recipe),
        "torch": torch.__version__,
    }
    checkpoints.write_json(request.out / "samples.json", record)


def _path(out: Path, index: int) -> Path:
    return out / f"{index:06d}.png"
