"""What ``zoo eval`` does: images of a run's or a file's weights beside real ones, in figures and on record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from zoo.assembly import create_part, create_parts
from zoo.data import Dataset, Split
from zoo.errors import DataError, ZooError
from zoo.evaluate import FeatureSet
from zoo.evaluate.judging import ImageSet, Judge, RealImages, controls
from zoo.plugins import zoo_version
from zoo.recipe import Recipe
from zoo.registry import Registry
from zoo.train.distributed import World
from zoo.train.drawing import check_guidance, labels_for, prepare_drawing
from zoo.weights import Weights, filled, refuse_other_backbone

GENERATED, HELD_OUT = "generated", "held-out real"


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
    registry: Registry,
    world: World,
    *,
    seed: int = 0,
    with_controls: bool = False,
) -> Evaluation:
    """Draw images as the recipe says, and compare them with those that it was trained on.

    All processes draw; the main one compares.

    Args:
        weights: of a run or a file.
        recipe: theirs, with the ``sample`` and ``evaluate`` sections to use.
        registry: the parts to choose from.
        world: this process among those of the job.
        seed: of the noise, of the controls, and of the choice of real images.
        with_controls: compare noise, class means, shuffled labels and a copy of the training images as well.

    Returns:
        The same on all processes.

    Raises:
        WeightsError: the weights are of another backbone.
        DataError: the real images cannot be read.
        NumericError: an image is not finite.
        ZooError: there is no figure that these features allow.
    """
    found = _Evaluation(weights, recipe, registry, world, seed)
    world.first(found.prepare)
    found.draw()
    return world.first(lambda: found.compare(with_controls=with_controls))


class _Evaluation:
    """An evaluation on its way. ``prepare`` and ``compare`` are for the main process alone."""

    def __init__(self, weights: Weights, recipe: Recipe, registry: Registry, world: World, seed: int) -> None:
        with world.together():
            refuse_other_backbone("the weights", weights.recipe, recipe)
            self.dataset: Dataset = create_part(recipe, "dataset", registry)
            if self.dataset.preview is not None:
                raise ZooError(f"evaluation compares pictures: {self.dataset.preview}")
        self.weights, self.recipe, self.registry, self.world, self.seed = weights, recipe, registry, world, seed
        self.judge: Judge | None = None
        self.drawn: list[FeatureSet] = []
        self.seconds = 0.0

    def real(self, split: Split) -> RealImages:
        """Real images of a split."""
        return RealImages(self.dataset, split, self.seed, self.recipe.evaluate.real)

    def prepare(self) -> None:
        """Look at the real images."""
        features = create_part(self.recipe, "features", self.registry)
        metrics = create_parts(self.recipe, "metric", self.registry)
        self.judge = Judge(features, metrics, self.real("train"), self.world.device)
        none = self.recipe.evaluate.features.type
        if not any(all(getattr(self.judge.real, need) is not None for need in metric.needs) for metric in metrics):
            raise ZooError(f"{self.recipe.name}: evaluate.metric: none of them can be told from {none}")

    def draw(self) -> None:
        """Draw on all processes; the main one takes features of a round of batches, and lets the images go."""
        world, count = self.world, self.recipe.evaluate.count
        with world.together():
            backbone = filled(self.weights, self.registry, world.device)
            check_guidance(self.recipe, backbone)
            drawing = prepare_drawing(self.recipe, self.registry, len(backbone.stages), self.seed)
            whole = -(-count // drawing.batch)
            labels = labels_for(backbone, whole * drawing.batch)
        are_classes = self.recipe.backbone.num_classes > 0 and labels.ndim == 1
        console = Console(stderr=True)
        hidden = not (world.is_main and console.is_terminal)
        rounds = range(0, whole, world.size)
        for first in track(rounds, "drawing", console=console, disable=hidden, transient=True):
            start = time.perf_counter()
            with world.together():
                batch = first + world.rank
                own = drawing.images(backbone, labels, batch, count) if batch < whole else []
            images = [image for each in world.collect(own) for image in each]
            self.seconds += time.perf_counter() - start
            with world.together():
                if self.judge is not None:
                    place = first * drawing.batch
                    asked = labels[place : place + len(images)].numpy() if are_classes else None
                    self.drawn.append(self.judge.features_of([ImageSet(np.stack(images), asked)]))

    def compare(self, *, with_controls: bool) -> Evaluation:
        """Figures of everything."""
        assert self.judge is not None
        sets = {GENERATED: FeatureSet.joined(self.drawn)}
        held_out = self._held_out()
        if held_out is not None:
            sets[HELD_OUT] = self.judge.features_of(held_out.batches())
        if with_controls:
            made = controls(self.real("train").in_memory(), self.seed)
            sets |= {name: self.judge.features_of(each.batches()) for name, each in made.items()}
        figures = {name: self.judge.figures(each) for name, each in sets.items()}
        counts = {"train": len(self.judge.real), **{name: len(each) for name, each in sets.items()}}
        return Evaluation(figures, self._record(counts))

    def _held_out(self) -> RealImages | None:
        try:
            return self.real("held_out")
        except DataError:  # a dataset without a held-out split has no floor
            return None

    def _record(self, counts: Mapping[str, int]) -> dict[str, Any]:
        assert self.judge is not None
        return {
            **self.weights.source,
            "sample": self.recipe.sample.resolved(),
            "evaluate": self.recipe.evaluate.resolved(),
            "features": self.judge.features.record(),
            "classifier": self.judge.classifier,
            "seed": self.seed,
            "counts": dict(counts),
            "drawing": {
                "device": str(self.world.device),
                "processes": self.world.size,
                "threads": torch.get_num_threads(),
                "seconds": round(self.seconds, 3),
                "images_per_second": round(counts[GENERATED] / self.seconds, 3),
            },
            "zoo": zoo_version(),
            "plugins": self.registry.versions(self.recipe),
            "libraries": {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn")},
        }
