"""A dataset of latents that are no pictures, of any number of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

import zoo
from zoo.data import Dataset, Samples, Source, Split, Statistics

SAMPLES, CLASSES = 24, 3
MEANS, DEVIATION = 10.0, 2.0


@zoo.part("dataset", "waves")
class Waves(Dataset):
    """Noise about another mean in every channel; sample i is of class i modulo 3."""

    def __init__(self, channels: int, size: tuple[int, ...]) -> None:
        self.shape = (channels, *size)

    def open(self, split: Split = "train") -> WaveSource:
        return WaveSource(self.shape)


class WaveSource(Source):
    """The same numbers for the same index, however often they are read."""

    classes = ("low", "middle", "high")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.means = MEANS * np.arange(shape[0])
        self.statistics = Statistics(tuple(self.means.tolist()), (DEVIATION,) * shape[0])

    def __len__(self) -> int:
        return SAMPLES

    def read(self, indices: np.ndarray, random: Sequence[np.random.Generator]) -> Samples:
        drawn = [np.random.default_rng(index).standard_normal(self.shape) for index in indices.tolist()]
        latents = self.means.reshape(-1, *[1] * (len(self.shape) - 1)) + DEVIATION * np.stack(drawn)
        return Samples(torch.tensor(latents, dtype=torch.float32), self.labels(indices))

    def labels(self, indices: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(indices % CLASSES)

    def id(self, index: int) -> str:
        return f"wave {index}"


def wave_registry() -> zoo.Registry:
    """The built-in parts and this one."""
    return zoo.Registry().with_parts([Waves])
