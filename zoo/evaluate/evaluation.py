"""What ``zoo eval`` does: images of a run's or a file's weights beside real ones, in figures and on record."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.assembly import create_part, create_parts
from zoo.data import Dataset, Split
from zoo.distributed.distributed import Distributed
from zoo.errors import MissingSplitError, ZooError
from zoo.evaluate import Features, FeatureSet, ImageSet
from zoo.evaluate.base import BATCH
from zoo.evaluate.elsewhere import Given
from zoo.evaluate.evaluation_record import asked, digest_of_real, doubts_of, lacks_of, libraries, origin
from zoo.evaluate.judging import Judge, RealImages, classes_in, controls, features_of
from zoo.evaluate.kept_features import KeptFeatures
from zoo.evaluate.mix import Mix
from zoo.evaluate.reference import find_reference
from zoo.parts import IndexConditioner
from zoo.plugins import zoo_version
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.runs.judged import GENERATED, HELD_OUT, REAL, way_of
from zoo.runs.shared_weights import filled_by_one
from zoo.sampling.labels import ImageLabels, counts_of, labels_for
from zoo.sampling.leaving_out import with_ids
from zoo.sampling.sampler import check_guidance, prepare_sampler
from zoo.sampling.second import find_second, read_second_by_one
from zoo.sampling.tracking import told, tracked
from zoo.weights import Weights, refuse_other_backbone


@dataclass(frozen=True)
class Evaluation:
    """How good samples are.

    Attributes:
        figures: by set (the generated images, real ones that training has not seen, controls) and by name.
        record: how the generated images were made and compared.
    """

    figures: Mapping[str, Mapping[str, float]]
    record: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``zoo eval --out`` writes them."""
        return {"figures": self.figures, **self.record}


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
    """Draw images as the recipe says, and compare them with those that it was trained on.

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
    found = _Evaluation(weights, with_ids(recipe, world), world, seed, registry or Registry.installed(), heading)
    real = found.look_at(found.reference.images, "real images")
    with world.together():
        found.judge_by(real)
    kept = kept or KeptFeatures(None)
    found.begin(kept, resume=resume)
    generated = found.draw(kept)
    held_out = found.floor()
    evaluation = world.first(lambda: found.compare(generated, held_out, with_controls=with_controls))
    if write is not None:
        world.first(lambda: write(evaluation))
    world.first(kept.remove)
    return evaluation


def features_for(recipe: Recipe) -> Features:
    """The features that a recipe is judged by; what they need is there.

    Raises:
        ZooError: the recipe's latents are no pictures, or its dataset can only hint at them.
        DataError: a file is not there; the message says how to get it.
    """
    dataset: Dataset = create_part(recipe, "dataset")
    if not dataset.makes_images:
        name = recipe.data.dataset.type
        raise ZooError(
            f"{recipe.name}: evaluation compares pictures, and dataset {name} makes none of its latents; choose a"
            " dataset that does"
        )
    if dataset.preview is not None:
        raise ZooError(f"evaluation compares pictures: {dataset.preview}; choose another dataset")
    features: Features = create_part(recipe, "features")
    features.check()
    return features


class _Evaluation:
    """An evaluation on its way: every process has a share of the pictures, and the main one all features."""

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
            self.features = features_for(recipe)
            refuse_other_backbone("the weights", weights.recipe, recipe)
        self.backbone = filled_by_one(weights, world)
        with world.together():
            check_guidance(recipe, self.backbone)
        self.second = read_second_by_one(second, recipe, registry, world)
        beside = None if self.second is None else filled_by_one(self.second, world)
        with world.together():
            self.sampler = prepare_sampler(recipe, seed, second=beside)
            self.features.to(world.device)
            self.real = self._real("train", recipe.evaluate.real)
            count = recipe.evaluate.count
            most = recipe.evaluate.real
            self.reference = find_reference(recipe, self.features, self.real, lambda: self._real("held_out", most))
            drawn = f"draws {count} images, and compares them with {self.reference.words}"
            told(f"{heading or f'{recipe.name}:'} {drawn}", world)
        self.real_data = world.first(lambda: digest_of_real(self.sampler.dataset, recipe))
        # One process reads them: a dataset may have to read whole samples for it.
        self.labels: ImageLabels = world.first(self._labels)
        self.mix = Mix(recipe.evaluate.labels, recipe.evaluate.count, seed, self.labels.are_classes)
        self.judge: Judge | None = None  # of the main process
        self.no_floor: str | None = None
        self.seconds = 0.0

    def _real(self, split: Split, most: int | None = None) -> RealImages:
        leave_out = self.recipe.data.leave_out
        return RealImages(self.sampler.dataset, split, self.seed, most, self.world.device, leave_out)

    def _labels(self) -> ImageLabels:
        """What the images of all batches are asked to be of."""
        choice, conditioner = self.recipe.evaluate.labels, self.backbone.conditioner
        count = -(-self.recipe.evaluate.count // self.sampler.batch) * self.sampler.batch
        real = self.real
        wants_data = choice == "data" or not isinstance(conditioner, IndexConditioner)
        classes = None if wants_data else classes_in(real.source.labels(real.indices))
        there = None if classes is None else np.unique(classes).tolist()  # no figure is of others
        return labels_for(conditioner, count, choice, self.seed, lambda: (real.source, real.indices), there)

    def floor(self) -> FeatureSet | None:
        """Features of as many held-out images as are drawn, on the main process; None where there are no such."""
        if self.recipe.evaluate.reference == "held_out":
            self.no_floor = "those that are held out are what samples are compared with"
            return None
        with self.world.together():
            try:
                held_out = self._real("held_out")
                held_out.without_other_classes(self.real.classes)
            except MissingSplitError as error:
                self.no_floor = str(error)
                return None
        # One process reads their labels, as those of the others.
        held_out.indices = self.world.first(lambda: held_out.indices[self.mix.of_held_out(held_out)])
        return self.look_at(held_out, "held-out images")

    def look_at(self, real: RealImages | Given | None, what: str) -> FeatureSet | None:
        """Features of real images, on the main process, if there are any; ``what`` they are is for people who wait."""
        world = self.world
        if real is None:
            return None
        share = range(world.rank, -(-len(real) // BATCH), world.size)
        with world.together():
            batches = tracked(real.batches(world.rank, world.size), len(share), what, world)
            own = [self.features.of(each.images, each.labels) for each in batches]
        return self._joined(own)

    def _joined(self, own: list[FeatureSet]) -> FeatureSet | None:
        """The features of all batches, which the processes took in turn, in their order; on the main one."""
        shares = self.world.collect(own)
        if not self.world.is_main:
            return None
        rounds = itertools.zip_longest(*shares)  # of which every process had one batch
        return FeatureSet.joined([each for batches in rounds for each in batches if each is not None])

    def judge_by(self, real: FeatureSet | None) -> None:
        """Begin to compare with real images, or with moments of them; on the main process."""
        if not self.world.is_main:
            return
        metrics = create_parts(self.recipe, "metric")
        self.judge = Judge(self.features, metrics, real, self.reference.moments)
        if not self.judge.metrics:
            features = self.recipe.evaluate.features.type
            raise ZooError(
                f"{self.recipe.name}: evaluate.metrics: none of them can be told from {features}; choose others"
            )

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
            "way": way_of(asked(self.recipe, self.features, self.real_data, self.seed, self.second)),
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
        return self._joined([features for features, _ in found])

    def _draw(self, batch: int, kept: KeptFeatures) -> tuple[FeatureSet, float]:
        start = time.perf_counter()
        images = np.stack(self.sampler.images(self.backbone, self.labels.values, batch, self.recipe.evaluate.count))
        seconds = time.perf_counter() - start
        first = batch * self.sampler.batch
        features = self.features.of(images, self.labels.classes(first, first + len(images)))
        kept.write(batch, features, seconds)
        return features, seconds

    def compare(self, generated: FeatureSet | None, held_out: FeatureSet | None, *, with_controls: bool) -> Evaluation:
        """Figures of everything; on the main process."""
        assert self.judge is not None
        assert generated is not None
        figures: dict[str, dict[str, float]] = {}
        real = self.judge.real
        counts, classes = {REAL: len(real or ())}, {REAL: None if real is None else counts_of(real.labels)}
        left_out = dict[str, str]()
        origins = {each.type: origin(each) for each in self.recipe.evaluate.metrics}
        for name, found in self._sets(generated, held_out, with_controls):
            counts[name], classes[name] = len(found), counts_of(found.labels)
            figures[name], refusals = self.judge.figures(found)
            left_out |= {f"{metric} of {name}": f"{reason}{origins[metric]}" for metric, reason in refusals.items()}
        lacks = lacks_of(self.weights, self.real.source.fingerprint(), self.no_floor)
        of_real = None if real is None else len(real)
        doubts = doubts_of(len(generated), of_real, counts.get(HELD_OUT), generated.pooled.shape[1])
        return Evaluation(
            figures, self._record(counts, classes, left_out, [*self.reference.doubts, *lacks, *doubts])
        )

    def _sets(
        self, generated: FeatureSet, held_out: FeatureSet | None, with_controls: bool
    ) -> Iterator[tuple[str, FeatureSet]]:
        """What is compared, one set after the other; controls are of classes chosen as for generated images."""
        yield GENERATED, generated
        if held_out is not None:
            yield HELD_OUT, held_out
        if with_controls:
            train = self.real.in_memory()
            rows = self.mix.of_controls(train)
            chosen = ImageSet(train.images[rows], None if train.labels is None else train.labels[rows])
            for name, make in controls(chosen, self.seed).items():
                yield name, features_of(self.features, make())

    def _record(
        self,
        counts: Mapping[str, int],
        classes: Mapping[str, Mapping[str, int] | None],
        left_out: Mapping[str, str],
        doubts: Sequence[str],
    ) -> dict[str, Any]:
        assert self.judge is not None
        named = "linear discriminants of the features" if self.judge.classifier is not None else "the features' own"
        return {
            **self.weights.source,
            **asked(self.recipe, self.features, self.real_data, self.seed, self.second),
            "classifier": None if self.judge.real is None or self.judge.real.verdicts is None else named,
            "counts": dict(counts),
            "classes": dict(classes),
            "class_names": self.weights.classes.names_of(
                [int(each) for found in classes.values() for each in found or ()]
            ),
            "left_out": dict(left_out),
            "unfed": self.judge.unfed,
            "doubts": list(doubts),
            "drawing": {
                "device": str(self.world.device),
                "processes": self.world.size,
                "threads": torch.get_num_threads(),
                "seconds": round(self.seconds, 3),
                "images_per_second": round(counts[GENERATED] / max(self.seconds, 1e-9), 3),
            },
            "zoo": zoo_version(),
            "plugins": self.recipe.plugins(),
            "libraries": libraries(),
        }
