"""What ``zoo eval`` does: images of a run's or a file's weights beside real ones, in figures and on record."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.distributed.distributed import Distributed
from zoo.evaluate import FeatureSet
from zoo.evaluate.beside import Beside, Evaluation, features_for
from zoo.evaluate.evaluation_record import asked, libraries, other_data
from zoo.evaluate.judging import classes_in
from zoo.evaluate.kept_features import KeptFeatures
from zoo.evaluate.mix import Mix
from zoo.parts import IndexConditioner
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.runs.judged import GENERATED, way_of
from zoo.runs.shared_weights import filled_by_one
from zoo.sampling.labels import ImageLabels, labels_for
from zoo.sampling.leaving_out import with_ids
from zoo.sampling.sampler import check_guidance, prepare_sampler
from zoo.sampling.second import find_second, read_second_by_one
from zoo.sampling.tracking import told, tracked
from zoo.weights import Weights, refuse_other_backbone


def evaluate(
    weights: Weights,
    recipe: Recipe,
    world: Distributed,
    *,
    seed: int = 0,
    with_controls: bool = False,
    kept: KeptFeatures | None = None,
    resume: bool = False,
    write: Callable[[Evaluation], object] | None = None,
    registry: Registry | None = None,
    heading: str | None = None,
) -> Evaluation:
    """Draw images as the recipe says, and compare them with the real ones that it says.

    All processes draw and look at real images; the main one compares. A line on stderr says so at the start.

    Args:
        weights: of a run or a file.
        recipe: theirs, with the ``sample`` and ``evaluate`` sections to use.
        world: this process among those of the job.
        seed: of the noise, of the controls, and of the choice of real images.
        with_controls: compare noise, class means, shuffled labels and a copy of the training images as well.
        kept: where features of what has been drawn are kept until the end; None to keep nothing.
        resume: go on with what an interrupted evaluation of the same weights in the same way has kept there.
        write: takes the result on the main process, while features are still kept: the disk may be full.
        registry: the parts that the other weights of guidance are of; all installed ones if left out.
        heading: what that line begins with, such as a run and why it is judged; the recipe's name if left out.

    Returns:
        The same on all processes.

    Raises:
        WeightsError: the weights are of another backbone.
        DataError: the real images cannot be read.
        NumericError: an image is not finite.
        ZooError: there is no figure that these features allow.
    """
    found = _Drawn(weights, with_ids(recipe, world), world, seed, registry or Registry.installed(), heading)
    found.beside.begin_judging()
    kept = kept or KeptFeatures(None)
    found.begin(kept, resume=resume)
    generated = found.draw(kept)
    held_out = found.beside.floor(found.mix)
    evaluation = world.first(lambda: found.compare(generated, held_out, with_controls=with_controls))
    if write is not None:
        world.first(lambda: write(evaluation))
    world.first(kept.remove)
    return evaluation


class _Drawn:
    """Images of some weights on their way: every process draws a share of them, and the main one has all features."""

    def __init__(
        self,
        weights: Weights,
        recipe: Recipe,
        world: Distributed,
        seed: int,
        registry: Registry,
        heading: str | None = None,
    ) -> None:
        self.weights, self.recipe, self.world, self.seed = weights, recipe, world, seed
        second = world.first(lambda: find_second(recipe))
        with world.together():
            features = features_for(recipe)
            refuse_other_backbone("the weights", weights.recipe, recipe)
        self.backbone = filled_by_one(weights, world)
        with world.together():
            check_guidance(recipe, self.backbone)
        self.second = read_second_by_one(second, recipe, registry, world)
        beside = None if self.second is None else filled_by_one(self.second, world)
        with world.together():
            self.sampler = prepare_sampler(recipe, seed, second=beside)
            self.beside = Beside(recipe, features, self.sampler.dataset, world, seed)
            drawn = f"draws {recipe.evaluate.count} images, and compares them with {self.beside.reference.words}"
            told(f"{heading or f'{recipe.name}:'} {drawn}", world)
        self.real_data = self.beside.digest()
        # One process reads them: a dataset may have to read whole samples for it.
        self.labels: ImageLabels = world.first(self._labels)
        self.mix = Mix(recipe.evaluate.labels, recipe.evaluate.count, seed, self.labels.are_classes)
        self.seconds = 0.0

    def _labels(self) -> ImageLabels:
        """What the images of all batches are asked to be of."""
        choice, conditioner = self.recipe.evaluate.labels, self.backbone.conditioner
        count = -(-self.recipe.evaluate.count // self.sampler.batch) * self.sampler.batch
        real = self.beside.real
        wants_data = choice == "data" or not isinstance(conditioner, IndexConditioner)
        classes = None if wants_data else classes_in(real.source.labels(real.indices))
        there = None if classes is None else np.unique(classes).tolist()  # no figure is of others
        return labels_for(conditioner, count, choice, self.seed, lambda: (real.source, real.indices), there)

    def begin(self, kept: KeptFeatures, *, resume: bool) -> None:
        """Have what is drawn be kept, by what all of it depends on."""

        def begin() -> tuple[Path | None, bool]:
            checkpoint = str(self.weights.source.get("checkpoint", ""))
            goes_on = kept.place is not None and kept.begin(self._depends_on(), resume=resume, checkpoint=checkpoint)
            return kept.folder, goes_on

        kept.folder, goes_on = self.world.first(begin)
        if resume and not goes_on and self.world.is_main:
            warnings.warn(
                "no evaluation of these weights in this way, beside this data, has begun; all images are drawn",
                stacklevel=3,
            )

    def _depends_on(self) -> dict[str, Any]:
        """What features of generated images are a function of; these may be fitted to the real ones."""
        return {
            "weights_sha256": self.weights.source.get("weights_sha256"),
            "way": way_of(self._asked()),
            "versions": self.recipe.versions().to_plain(),
            "libraries": libraries(),
        }

    def draw(self, kept: KeptFeatures) -> FeatureSet | None:
        """Features of generated images, on the main process."""
        world, count = self.world, self.recipe.evaluate.count
        whole = -(-count // self.sampler.batch)
        with world.together():
            own = {batch: kept.read(batch) for batch in range(world.rank, whole, world.size)}
            missing = [batch for batch, found in own.items() if found is None]
            if len(missing) < len(own):
                told(f"{len(own) - len(missing)} of {len(own)} batches have been drawn before", world)
            for batch in tracked(missing, len(missing), "drawing", world):
                own[batch] = self._draw(batch, kept)
        found = [each for each in own.values() if each is not None]
        self.seconds += sum(seconds for _, seconds in found)
        return self.beside.joined([features for features, _ in found])

    def _draw(self, batch: int, kept: KeptFeatures) -> tuple[FeatureSet, float]:
        start = time.perf_counter()
        images = np.stack(self.sampler.images(self.backbone, self.labels.values, batch, self.recipe.evaluate.count))
        seconds = time.perf_counter() - start
        first = batch * self.sampler.batch
        features = self.beside.features.of(images, self.labels.classes(first, first + len(images)))
        kept.write(batch, features, seconds)
        return features, seconds

    def compare(self, generated: FeatureSet | None, held_out: FeatureSet | None, *, with_controls: bool) -> Evaluation:
        """Figures of everything; on the main process."""
        doubts = other_data(self.weights, self.beside.real.source.fingerprint())
        found = self.beside.compare(generated, held_out, self.mix, doubts, with_controls=with_controls)
        classes = [int(each) for of_set in found.record["classes"].values() for each in of_set or ()]
        record = {
            **self.weights.source,
            **self._asked(),
            **found.record,
            "class_names": self.weights.classes.names_of(classes),
            "drawing": {
                "device": str(self.world.device),
                "processes": self.world.size,
                "threads": torch.get_num_threads(),
                "seconds": round(self.seconds, 3),
                "images_per_second": round(found.record["counts"][GENERATED] / max(self.seconds, 1e-9), 3),
            },
        }
        return Evaluation(found.figures, record)

    def _asked(self) -> dict[str, Any]:
        return asked(self.recipe, self.beside.features, self.real_data, self.seed, self.second)
