"""Labels under names: a conditioner that takes a class and a size, a dataset that has both, and a recipe of the two."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch

import zoo
from tests.train.small import VALUES
from zoo.assembly import load_recipe
from zoo.data import Dataset, Samples, Source
from zoo.data.pixels import to_pixels
from zoo.labels import map_labels
from zoo.parts import ClassCondition, ClassConditioner
from zoo.plugins import Plugin
from zoo.recipe import Recipe
from zoo.registry import Registry

SAMPLES, CLASSES = 24, 3


@zoo.part("class_conditioner", "class_and_size")
class ClassAndSize(ClassConditioner):
    """Labels are a class index [B] and a size [B, 2]; a class of ``num_classes`` and a size of 0 say nothing."""

    gives = frozenset({"label"})

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embedding = torch.nn.Embedding(num_classes + 1, dim)
        self.projection = torch.nn.Linear(2, dim, bias=False)

    def forward(self, labels: dict[str, torch.Tensor]) -> ClassCondition:
        size = labels["size"].to(self.projection.weight.dtype)
        return ClassCondition(vector=self.embedding(labels["class"]) + self.projection(size))

    def null(self, labels: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            "class": torch.full_like(labels["class"], self.num_classes),
            "size": torch.zeros_like(labels["size"]),
        }

    def example_labels(self, batch: int, device: torch.device | str | None = None) -> dict[str, torch.Tensor]:
        size = torch.ones(batch, 2, device=device)
        return {"class": torch.arange(batch, device=device) % self.num_classes, "size": size}

    def check_labels(self, labels: Any, batch: int) -> None:
        shapes = labels if labels is None else map_labels(lambda own: own.new_tensor(own.shape), labels)
        if not isinstance(shapes, dict) or {name: each.tolist() for name, each in shapes.items()} != {
            "class": [batch],
            "size": [batch, 2],
        }:
            raise ValueError(f"labels: must be class [{batch}] and size [{batch}, 2]")


@zoo.part("dataset", "bars")
class Bars(Dataset):
    """Bright bars on noise: sample i is of class i % 3, which says where the bar is, and of size (i, 1)."""

    def __init__(self, channels: int, size: tuple[int, ...], *, unnamed: bool = False) -> None:
        self.shape, self.unnamed = (channels, *size), unnamed

    def open(self, split: str = "train") -> BarSource:
        return BarSource(self.shape, self.unnamed)

    def to_images(self, latents: torch.Tensor) -> torch.Tensor:
        return to_pixels(latents)


class BarSource(Source):
    """The samples; ``unnamed`` ones have their class alone for a label."""

    def __init__(self, shape: tuple[int, ...], unnamed: bool) -> None:
        self.shape, self.unnamed = shape, unnamed

    def __len__(self) -> int:
        return SAMPLES

    def read(self, indices: np.ndarray, random: Any) -> Samples:
        latents = np.stack([np.random.default_rng(index).normal(size=self.shape) / 4 for index in indices.tolist()])
        for latent, index in zip(latents, indices.tolist(), strict=True):
            latent[:, :, index % CLASSES] = 1.0
        return Samples(torch.tensor(latents).float().clamp(-1, 1), self.labels(indices))

    def labels(self, indices: np.ndarray) -> Any:
        index = torch.from_numpy(indices)
        size = torch.stack([index, torch.ones_like(index)], dim=1).float()
        return index % CLASSES if self.unnamed else {"class": index % CLASSES, "size": size}

    def id(self, index: int) -> str:
        return f"bar {index}"


def named_registry() -> Registry:
    """The built-in parts and these."""
    module: Any = ModuleType("named")
    module.zoo_parts = zoo.hookimpl(lambda: [ClassAndSize, Bars], specname="zoo_parts")
    registry = Registry()
    registry.register(module, Plugin("named", "1"))
    return registry


def named(*overrides: str, registry: Registry) -> Recipe:
    """A small recipe that trains on bars."""
    values: dict[str, Any] = {**VALUES, "data": {"dataset": "bars"}, "objective": {"label_dropout": 0.5}}
    own = {"num_classes": CLASSES, "class_conditioner": "class_and_size"}
    values["backbone"] = {**values["backbone"], **own}
    return load_recipe(values, overrides, registry)
