"""What ``zoo eval`` does: images of a run's or a file's weights beside real ones, in figures and on record."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from zoo.assembly import create_part, create_parts
from zoo.errors import DataError, ZooError
from zoo.evaluate.judging import ImageSet, controls, judge, real_images
from zoo.plugins import zoo_version
from zoo.recipe import Recipe
from zoo.registry import Registry
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


def evaluate(
    weights: Weights,
    recipe: Recipe,
    registry: Registry,
    device: torch.device,
    *,
    seed: int = 0,
    with_controls: bool = False,
) -> Evaluation:
    """Draw images as the recipe says, and compare them with those that it was trained on.

    Args:
        weights: of a run or a file.
        recipe: theirs, with the ``sample`` and ``evaluate`` sections to use.
        registry: the parts to choose from.
        device: where to draw.
        seed: of the noise, and of the controls.
        with_controls: compare noise, class means, shuffled labels and a copy of the training images as well.

    Raises:
        WeightsError: the weights are of another backbone.
        DataError: the real images cannot be read.
        NumericError: an image is not finite.
        ZooError: there is no figure that these features allow.
    """
    refuse_other_backbone("the weights", weights.recipe, recipe)
    dataset = create_part(recipe, "dataset", registry)
    if dataset.preview is not None:
        raise ZooError(f"evaluation compares pictures: {dataset.preview}")
    train = real_images(dataset, "train", seed)
    sets = {GENERATED: _drawn(weights, recipe, registry, device, seed)}
    with suppress(DataError):  # a dataset without a held-out split has no floor
        sets[HELD_OUT] = real_images(dataset, "held_out", seed)
    if with_controls:
        sets |= controls(train, seed)
    features = create_part(recipe, "features", registry)
    figures = judge(features, create_parts(recipe, "metric", registry), train, sets)
    if not figures[GENERATED]:
        raise ZooError(f"{recipe.name}: evaluate.metric: none of them can be told from {recipe.evaluate.features.type}")
    record = {
        **weights.source,
        "sample": recipe.sample.resolved(),
        "evaluate": recipe.evaluate.resolved(),
        "seed": seed,
        "counts": {"train": len(train), **{name: len(each) for name, each in sets.items()}},
        "zoo": zoo_version(),
        "plugins": registry.versions(recipe),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    return Evaluation(figures, record)


def _drawn(weights: Weights, recipe: Recipe, registry: Registry, device: torch.device, seed: int) -> ImageSet:
    backbone = filled(weights, registry, device)
    check_guidance(recipe, backbone)
    drawing = prepare_drawing(recipe, registry, len(backbone.stages), seed)
    count = recipe.evaluate.count
    whole = -(-count // drawing.batch)
    labels = labels_for(backbone, whole * drawing.batch)
    console = Console(stderr=True)
    batches = track(range(whole), "drawing", console=console, disable=not console.is_terminal, transient=True)
    images = [image for batch in batches for image in drawing.images(backbone, labels, batch, count)]
    are_classes = recipe.backbone.num_classes > 0 and labels.ndim == 1
    return ImageSet(np.stack(images), labels[:count].numpy() if are_classes else None)
