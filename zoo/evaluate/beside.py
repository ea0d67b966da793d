"""Real images, and what other images come to beside them: a floor, controls, figures and what these lack."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.assembly import create_part, create_parts
from zoo.data import Dataset, Split
from zoo.distributed.distributed import Distributed
from zoo.errors import MissingSplitError, ZooError
from zoo.evaluate import Features, FeatureSet, ImageSet
from zoo.evaluate.base import BATCH
from zoo.evaluate.elsewhere import Given
from zoo.evaluate.evaluation_record import digest_of_real, doubts_of, libraries, origin
from zoo.evaluate.judging import Judge, RealImages, controls, features_of
from zoo.evaluate.kept_real import file_of, keep_features, read_features
from zoo.evaluate.mix import Mix
from zoo.evaluate.reference import channels_of, find_reference
from zoo.plugins import zoo_version
from zoo.recipe import Recipe
from zoo.runs.judged import GENERATED, HELD_OUT, REAL
from zoo.sampling.labels import counts_of
from zoo.sampling.tracking import told, tracked


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

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"


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


class Beside:
    """Real images, of which every process has a share, and the main one all features.

    Args:
        recipe: says what is compared, and how.
        features: that the recipe asks for.
        dataset: its real images are of.
        world: this process among those of the job.
        seed: of the choice of real images, and of controls.
    """

    def __init__(self, recipe: Recipe, features: Features, dataset: Dataset, world: Distributed, seed: int) -> None:
        self.recipe, self.features, self.dataset, self.world, self.seed = recipe, features, dataset, world, seed
        self.features.to(world.device)
        most = recipe.evaluate.real
        self.real = self._images("train", most)
        self.reference = find_reference(recipe, features, self.real, lambda: self._held_out(most))
        self.judge: Judge | None = None  # of the main process
        self.no_floor: str | None = None

    @property
    def channels(self) -> int:
        """Of the real images: 1 (grey) or 3 (RGB)."""
        return channels_of(self.real)

    def digest(self) -> str:
        """What tells the real images from others; on all processes."""
        return self.world.first(lambda: digest_of_real(self.dataset, self.recipe))

    def _images(self, split: Split, most: int | None = None) -> RealImages:
        return RealImages(self.dataset, split, self.seed, most, self.world.device, self.recipe.data.leave_out)

    def _held_out(self, most: int | None = None) -> RealImages:
        found = self._images("held_out", most)
        found.without_other_classes(self.real.classes)
        return found

    def begin_judging(self) -> None:
        """Look at the real images, and begin to compare with them, or with moments of them."""
        real = None if self.reference.images is None else self._real_features(self.reference.images, "real images")
        with self.world.together():
            if not self.world.is_main:
                return
            self.judge = Judge(self.features, create_parts(self.recipe, "metric"), real, self.reference.moments)
            if not self.judge.metrics:
                features = self.recipe.evaluate.features.type
                raise ZooError(
                    f"{self.recipe.name}: evaluate.metrics: none of them can be told from {features}; choose others"
                )

    def floor(self, mix: Mix) -> FeatureSet | None:
        """Features of as many held-out images as are judged, on the main process; None where there are no such."""
        if self.recipe.evaluate.reference == "held_out":
            self.no_floor = "those that are held out are what samples are compared with"
            return None
        with self.world.together():
            try:
                held_out = self._held_out()
            except MissingSplitError as error:
                self.no_floor = f"{error} (of latents, let `zoo latents` read a folder that is so divided)"
                return None
        # One process reads their labels, as those of the others.
        held_out.indices = self.world.first(lambda: held_out.indices[mix.of_held_out(held_out)])
        return self._real_features(held_out, "held-out images")

    def _real_features(self, images: RealImages | Given, what: str) -> FeatureSet | None:
        """As ``look_at``, or what another evaluation has kept of them."""
        found: FeatureSet | None = None
        file: Path | None = None

        def read() -> bool:
            """On the main process alone: the others need no features."""
            nonlocal found, file
            fitted_to = self.reference.images or self.real
            file = file_of(images, self.recipe, self.features, fitted_to, self.world.device)
            found = None if file is None else read_features(file)
            return found is not None

        if self.world.first(read):
            told(f"{what}: their features are kept in {file}", self.world)
            return found
        found = self.look_at(images, what)
        if file is not None and found is not None:
            keep_features(file, found)
        return found

    def look_at(self, images: RealImages | Given, what: str) -> FeatureSet | None:
        """Features of images, on the main process; ``what`` they are is for people who wait."""
        world = self.world
        share = range(world.rank, -(-len(images) // BATCH), world.size)
        with world.together():
            batches = tracked(images.batches(world.rank, world.size), len(share), what, world)
            own = [self.features.of(each.images, each.labels) for each in batches]
        return self.joined(own)

    def joined(self, own: list[FeatureSet]) -> FeatureSet | None:
        """The features of all batches, which the processes took in turn, in their order; on the main one."""
        shares = self.world.collect(own)
        if not self.world.is_main:
            return None
        rounds = itertools.zip_longest(*shares)  # of which every process had one batch
        return FeatureSet.joined([each for batches in rounds for each in batches if each is not None])

    def compare(
        self,
        generated: FeatureSet | None,
        held_out: FeatureSet | None,
        mix: Mix,
        doubts: Iterable[str] = (),
        *,
        with_controls: bool,
        are_drawn: bool = True,
    ) -> Evaluation:
        """Figures of everything, and what stands on record of how they were found; on the main process.

        Args:
            generated: features of the images that are judged.
            held_out: of the floor's.
            mix: of the classes of the images that are judged.
            doubts: a line for each reason not to trust figures that only the caller knows.
            with_controls: judge impostors as well.
            are_drawn: whether more of them could be drawn.
        """
        assert self.judge is not None
        assert generated is not None
        figures: dict[str, dict[str, float]] = {}
        real = self.judge.real
        counts, classes = {REAL: len(real or ())}, {REAL: None if real is None else counts_of(real.labels)}
        left_out = dict[str, str]()
        origins = {each.type: origin(each) for each in self.recipe.evaluate.metrics}
        for name, found in self._sets(generated, held_out, mix, with_controls):
            counts[name], classes[name] = len(found), counts_of(found.labels)
            figures[name], refusals = self.judge.figures(found)
            left_out |= {f"{metric} of {name}": f"{reason}{origins[metric]}" for metric, reason in refusals.items()}
        of_real = None if real is None or self.reference.moments is not None else len(real)
        width, floor = generated.pooled.shape[1], counts.get(HELD_OUT)
        own = doubts_of(len(generated), of_real, floor, width, self.no_floor, are_drawn=are_drawn)
        named = "linear discriminants of the features" if self.judge.classifier is not None else "the features' own"
        record = {
            "classifier": None if real is None or real.verdicts is None else named,
            "counts": counts,
            "classes": classes,
            "left_out": left_out,
            "unfed": self.judge.unfed,
            "doubts": [*self.reference.doubts, *doubts, *own],
            "zoo": zoo_version(),
            "plugins": self.recipe.plugins(),
            "libraries": libraries(),
        }
        return Evaluation(figures, record)

    def _sets(
        self, generated: FeatureSet, held_out: FeatureSet | None, mix: Mix, with_controls: bool
    ) -> Iterator[tuple[str, FeatureSet]]:
        """What is compared, one set after the other; controls are of classes chosen as for generated images."""
        yield GENERATED, generated
        if held_out is not None:
            yield HELD_OUT, held_out
        if with_controls:
            train = self.real.in_memory()
            rows = mix.of_controls(train)
            chosen = ImageSet(train.images[rows], None if train.labels is None else train.labels[rows])
            for name, make in controls(chosen, self.seed).items():
                yield name, features_of(self.features, make())
