"""A conditioner whose labels are no class indices, a dataset that has such labels, and a run of both."""

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
from zoo.errors import DataError
from zoo.parts import ClassCondition, ClassConditioner
from zoo.plugins import Plugin
from zoo.recipe import Recipe
from zoo.registry import Registry

SAMPLES = 20


@zoo.part("class_conditioner", "vector")
class VectorConditioner(ClassConditioner):
    """Labels are pairs of numbers."""

    gives = frozenset({"label"})

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = torch.nn.Linear(2, dim)

    def forward(self, labels: torch.Tensor) -> ClassCondition:
        return ClassCondition(vector=self.projection(labels))

    def null(self, labels: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(labels)

    def example_labels(self, batch: int, device: torch.device | str | None = None) -> torch.Tensor:
        return torch.full((batch, 2), 7.0, device=device)

    def check_labels(self, labels: torch.Tensor | None, batch: int) -> None:
        if labels is None or labels.shape != (batch, 2):
            raise ValueError(f"labels: must be pairs [{batch}, 2]")


@zoo.part("dataset", "points")
class Points(Dataset):
    """Noise, of which sample i has the label (i, 1), or the first ``label_width`` of these."""

    def __init__(self, channels: int, size: tuple[int, ...], *, label_width: int = 2, file: str = "here") -> None:
        self.shape = (channels, *size)
        self.label_width = label_width
        self.file = file

    def open(self, split: str = "train") -> PointSource:
        if self.file != "here":
            raise DataError(f"{self.file}: there is no such file")
        return PointSource(self.shape, self.label_width)

    def to_images(self, latents: torch.Tensor) -> torch.Tensor:
        return to_pixels(latents)


class PointSource(Source):
    """The samples, which tell their labels only where they are read."""

    def __init__(self, shape: tuple[int, ...], label_width: int) -> None:
        self.shape, self.label_width = shape, label_width

    def __len__(self) -> int:
        return SAMPLES

    def read(self, indices: np.ndarray, random: Any) -> Samples:
        latents = [np.random.default_rng(index).standard_normal(self.shape) for index in indices.tolist()]
        labels = np.stack([indices, np.ones_like(indices)], axis=1)[:, : self.label_width]
        return Samples(torch.tensor(np.stack(latents)).float().clamp(-1, 1), torch.tensor(labels).float())

    def id(self, index: int) -> str:
        return f"point {index}"


def vector_registry() -> Registry:
    """The built-in parts and these."""
    module: Any = ModuleType("vectors")
    module.zoo_parts = zoo.hookimpl(lambda: [VectorConditioner, Points], specname="zoo_parts")
    registry = Registry()
    registry.register(module, Plugin("vectors", "1"))
    return registry


def vectors(*overrides: str, registry: Registry) -> Recipe:
    """A small recipe that trains on points."""
    values: dict[str, Any] = {**VALUES, "data": {"dataset": "points"}}
    own = {"num_classes": 0, "class_conditioner": "vector"}
    values["backbone"] = {**values["backbone"], **own}
    return load_recipe(values, overrides, registry)
