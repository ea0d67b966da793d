"""What ``zoo sample`` does: weights of a run or a file, images in a folder, and a record of how they were made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.backbone import Backbone
from zoo.classes import labels_without_samples
from zoo.distributed.distributed import Distributed
from zoo.errors import DataError, RunError, WeightsError, ZooError
from zoo.files import write_whole
from zoo.parts import IndexConditioner
from zoo.pictures import grid, read_png, write_npz, write_png
from zoo.plugins import zoo_version
from zoo.recipe import Recipe, Versions
from zoo.registry import Registry
from zoo.runs import checkpoint as checkpoints
from zoo.runs.run_folder import step_of
from zoo.runs.shared_weights import filled_by_one, read_by_one
from zoo.runs.weights import WeightsSource, find_weights
from zoo.sampling.beside_data import refuse_inside_data
from zoo.sampling.label_files import LabelFile
from zoo.sampling.labels import ImageLabels, given_labels, labels_for, said_labels, wanted_labels
from zoo.sampling.leaving_out import with_ids
from zoo.sampling.sample_folder import SampleFolder, refuse_another
from zoo.sampling.sampler import Sampler, check_guidance, prepare_sampler
from zoo.sampling.second import find_second, read_second_by_one
from zoo.sampling.threads import Threads, ahead
from zoo.sampling.tracking import tracked
from zoo.weights import Weights, Which, refuse_other_backbone

GRID = 100
"""Images of the grid at most."""


@dataclass(frozen=True)
class SampleRun:
    """What is asked for.

    Attributes:
        run: the folder of a run, or a weight file.
        out: a folder that does not exist, or is empty.
        weights: of a run, averaged or the last, as ``find_weights`` takes them.
        labels: classes that are drawn in turn; as the recipe says if empty.
        label_file: in their place, whose rows are drawn in turn.
        texts: in their place, which the class conditioner makes labels of.
        count: images.
        seed: of the noise.
        npz: whether to write the array that ADM's evaluation suite reads.
        resume: go on with what an interrupted call has begun.
        step: of a run, the checkpoint; the newest sound one if left out.
    """

    run: Path
    out: Path
    weights: Which
    labels: tuple[int, ...]
    count: int
    seed: int
    npz: bool
    resume: bool = False
    step: int | None = None
    label_file: LabelFile | None = None
    texts: tuple[str, ...] = ()

    @property
    def folder(self) -> SampleFolder:
        """Where images go."""
        return SampleFolder(self.out)

    def asked(self, recipe: Recipe) -> dict[str, Any]:
        """What all images are drawn by, as plain values."""
        data = {key: value for key, value in recipe.data.resolved().items() if key != "workers"}
        own = {key: getattr(self, key) for key in ("weights", "count", "seed", "npz")}
        own |= {} if self.step is None else {"step": self.step}
        own |= {} if self.label_file is None else {"label_file": self.label_file.digest}
        return {**own, "labels": list(self.texts or self.labels), "sample": recipe.sample.resolved(), "data": data}


def draw_samples(request: SampleRun, recipe: Recipe, registry: Registry, world: Distributed) -> int:
    """Draw images on all processes, each in whole batches; image i is the same for any number of them.

    What has been drawn stays when this is interrupted, and can be gone on with.

    Args:
        request: what is asked for.
        recipe: the run's, with the ``sample`` section to draw with.
        registry: the parts to choose from.
        world: this process among those of the job.

    Returns:
        How many of the images this call has drawn, on all processes.

    Raises:
        ZooError: the folder is not empty, holds what was asked for otherwise, the latents are no pictures, or a label
            is no class.
        DataError: labels are the dataset's, and it cannot be read.
        RunError: there is no sound checkpoint, or a file cannot be written.
        WeightsError: the weight file cannot be used.
    """
    recipe = with_ids(recipe, world)
    folder, asked = request.folder, request.asked(recipe)
    # One process chooses: while a run goes on, others may see another newest one.
    begun = world.first(lambda: _begun(request, recipe))
    if begun is not None and world.first(lambda: folder.is_done(request.count, npz=request.npz)):
        return 0
    found = world.first(lambda: _find_weights(request, begun))
    beside = world.first(lambda: find_second(recipe))
    if world.is_main:
        if request.resume and begun is None:
            warnings.warn(f"{request.out}: holds no samples to go on with; all are drawn", stacklevel=2)
        for problem in found.passed_over():
            warnings.warn(problem, stacklevel=2)
    weights = read_by_one(found, registry, world)
    with world.together():
        refuse_other_backbone(found.where, weights.recipe, recipe)
    second = read_second_by_one(beside, recipe, registry, world)
    with world.together():
        _refuse_other_weights(request, begun, weights, second)
    backbone = filled_by_one(weights, world)
    other = None if second is None else filled_by_one(second, world)
    with world.together():
        sampler = prepare_sampler(recipe, request.seed, second=other)
        whole = -(-request.count // sampler.batch)  # a solver of adaptive steps looks at the whole batch
        check_guidance(recipe, backbone)
        if not sampler.dataset.makes_images:
            raise ZooError(
                f"{recipe.name}: zoo sample writes pictures, and dataset {recipe.data.dataset.type} makes none of its"
                " latents; draw latents in Python, by zoo.sample"
            )
        if request.npz and sampler.dataset.preview is not None:
            raise ZooError(f"--npz: {sampler.dataset.preview}; leave it out")
    there, versions = weights.classes.with_samples, recipe.versions(("backbone", "data", "sample"))
    labels: ImageLabels = world.first(lambda: _labels(request, sampler, backbone, whole * sampler.batch, there))
    if world.is_main:
        of_request = [*labels_without_samples(request.labels, weights.classes), *_otherwise(request, begun, versions)]
        for warning in [*_warnings(sampler), *of_request]:
            warnings.warn(warning, stacklevel=2)
    with ExitStack() as stack:
        stands = {**weights.source, **asked, **_record_of(second), "versions": versions.to_plain()}
        world.first(lambda: stack.enter_context(folder.begin(stands, resume=begun is not None)))
        with world.together(request.out):
            missing = _missing(request, sampler, range(world.rank, whole, world.size), begun)
            with Threads(most=sampler.batch) as threads:  # which write pictures while the next batch is drawn
                for batch, indices in tracked(missing.items(), len(missing), "drawing", world):
                    images = sampler.images(backbone, labels.values, batch, request.count)
                    with _gone_on_with():
                        for index in indices:
                            threads.hand(write_png, images[index - batch * sampler.batch], folder.image(index))
                with _gone_on_with():
                    threads.finish()
        world.first(lambda: _finish(request, recipe, weights, second, labels))
    return int(world.sum(torch.tensor(threads.done)))


def _begun(request: SampleRun, recipe: Recipe) -> dict[str, Any] | None:
    """What was asked of the images that there are, if they are to be gone on with."""
    begun = request.folder.begun(resume=request.resume)
    if begun is None:
        refuse_inside_data(request.out, recipe, "choose another --out")
    else:
        refuse_another(request.folder, begun, request.asked(recipe))
    return begun


def _find_weights(request: SampleRun, begun: Mapping[str, Any] | None) -> WeightsSource:
    """The weights to draw with: those of the images that there are, if any."""
    if begun is None or "checkpoint" not in begun or not request.run.is_dir():
        return find_weights(request.run, weights=request.weights, step=request.step)
    try:
        return find_weights(request.run, weights=request.weights, step=step_of(begun))
    except RunError as error:
        raise RunError(f"{error}; the images in {request.out} were drawn from it: choose another folder") from error


def _refuse_other_weights(
    request: SampleRun, begun: Mapping[str, Any] | None, weights: Weights, second: Weights | None
) -> None:
    if begun is None:
        return
    others = f"holds other weights than those that the images in {request.out} were drawn from; choose another folder"
    if begun.get("weights_sha256") != weights.source["weights_sha256"]:
        raise WeightsError(f"{request.run}: {others}")
    if second is not None and begun.get("second_weights") != second.source:
        raise WeightsError(f"sample.guidance.weights: {others}")


def _record_of(second: Weights | None) -> dict[str, Any]:
    return {} if second is None else {"second_weights": second.source}


def _missing(
    request: SampleRun, sampler: Sampler, batches: range, begun: Mapping[str, Any] | None
) -> dict[int, list[int]]:
    """Of some batches, those that are not all there, with the images that are missing."""
    missing = {}
    for batch in batches:
        first = batch * sampler.batch
        indices = range(first, min(first + sampler.batch, request.count))
        missing[batch] = [index for index in indices if begun is None or not request.folder.has(index)]
    return {batch: indices for batch, indices in missing.items() if indices}


def _labels(
    request: SampleRun, sampler: Sampler, backbone: Backbone, count: int, there: Sequence[int] | None
) -> ImageLabels:
    conditioner = backbone.conditioner
    if request.label_file is not None:
        return given_labels(conditioner, request.label_file)
    if request.texts:
        return said_labels(conditioner, request.texts)
    if request.labels:
        return wanted_labels(conditioner, request.labels)
    choice = sampler.recipe.sample.labels
    try:
        return labels_for(conditioner, count, choice, request.seed, sampler.samples, there)
    except DataError as error:
        if isinstance(conditioner, IndexConditioner):
            raise
        by = "--labels or --labels-file" if conditioner.parses() else "--labels-file"
        raise DataError(f"{error}, or give labels by {by}") from error


def _warnings(sampler: Sampler) -> Iterator[str]:
    if sampler.dataset.preview is not None:
        yield sampler.dataset.preview
    guidance = sampler.guidance
    if not guidance.is_none and guidance.second == "null" and sampler.recipe.objective.label_dropout == 0.0:
        yield "guidance compares with no label, which training has never seen: objective.label_dropout was 0"


def _otherwise(request: SampleRun, begun: Mapping[str, Any] | None, here: Versions) -> Iterator[str]:
    """What to say of images that the others are to stand beside, where these were drawn with other versions."""
    with suppress(ValueError, LookupError):  # a request of which the versions are not what zoo wrote
        other = None if begun is None else Versions.read(begun["versions"]).otherwise(here)
        if other is not None:
            yield f"{request.out}: its images were drawn with {other}; they may be others in these versions"


@contextmanager
def _gone_on_with() -> Iterator[None]:
    """Say, where images or what belongs to them cannot be written, that those that are there are not lost."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{error}; what has been drawn is kept: mend it, and add --resume to go on") from error


@_gone_on_with()
def _finish(request: SampleRun, recipe: Recipe, weights: Weights, second: Weights | None, labels: ImageLabels) -> None:
    folder, file = request.folder, request.label_file
    paths = [folder.image(index) for index in range(request.count)]
    write_png(grid([read_png(path) for path in paths[:GRID]]), folder.grid)
    if request.npz:
        write_npz(ahead(read_png, paths), len(paths), folder.array)
    record = {
        **weights.source,
        "sample": recipe.sample.resolved(),
        **_record_of(second),
        "seed": request.seed,
        "count": request.count,
        **labels.record(request.count, weights.classes),
        **({} if file is None else {"label_file": {"name": file.path.name, "sha256": file.digest}}),
        "zoo": zoo_version(),
        "plugins": recipe.plugins(),
        "torch": torch.__version__,
    }
    write_whole(folder.record, checkpoints.to_json(record), RunError)
