"""REPA's alignment (Yu et al., 2025, arXiv 2410.06940): tokens of a block against features of the clean picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo.data import Dataset, Samples, Source
from zoo.flow import Loss, LossInputs

FEATURES = 3


@zoo.part("loss", "aligns")
class Aligns(Loss):
    """Minus the cosine between features, pooled to the tap's grid, and what an MLP makes of its tokens.

    Options:
        tap: block whose tokens are aligned.
        hidden: width of the MLP.
    """

    weighted = False
    extra = ("features",)

    def __init__(self, block_dims: tuple[int, ...], *, tap: int = 0, hidden: int = 8) -> None:
        super().__init__()
        if tap >= len(block_dims):
            raise ValueError(f"tap {tap} is none of {len(block_dims)} blocks")
        self.taps = (tap,)
        self.mlp = nn.Sequential(nn.Linear(block_dims[tap], hidden), nn.SiLU(), nn.Linear(hidden, FEATURES))

    def forward(self, inputs: LossInputs) -> Tensor:
        (tap,) = (inputs.taps[index] for index in self.taps)
        pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(tap.grid) - 1]
        wanted = pool(inputs.extra["features"].to(inputs.data.dtype), tap.grid).flatten(2).mT
        if tap.index is not None:
            wanted = wanted.gather(1, tap.index[..., None].expand(-1, -1, FEATURES))
        found = self.mlp(tap.tokens[:, tap.m :]).to(wanted.dtype)
        return 1 - F.cosine_similarity(found, wanted, dim=2).mean(dim=1)

    def example_extra(self, batch: int, size: tuple[int, ...]) -> Mapping[str, Tensor]:
        return {"features": torch.randn(batch, FEATURES, *(2 for _ in size))}


class FeaturedSource(Source):
    """Noise with features that are known of each, mirrored every other time."""

    def __init__(self, shape: tuple[int, ...], classes: int, split: str) -> None:
        self.shape, self._classes, self._split = shape, classes, split

    def __len__(self) -> int:
        return 64

    def read(self, indices: Any, random: Sequence[np.random.Generator]) -> Samples:
        drawn = [np.random.default_rng(index) for index in indices.tolist()]
        latents = np.stack([each.standard_normal(self.shape, dtype=np.float32) for each in drawn])
        features = np.stack([each.standard_normal((FEATURES, 4, 4), dtype=np.float32) for each in drawn])
        samples = Samples(
            torch.from_numpy(latents),
            torch.from_numpy(indices) % self._classes,
            {"features": torch.from_numpy(features)},
        )
        return samples.mirrored([generator.random() < 0.5 for generator in random], maps=Featured.maps)

    def labels(self, indices: Any) -> Tensor:
        return torch.from_numpy(indices) % self._classes

    def class_counts(self) -> tuple[int, ...]:
        return tuple(int(count) for count in np.bincount(np.arange(len(self)) % self._classes))

    def id(self, index: int) -> str:
        return f"{self._split} {index}"


@zoo.part("dataset", "featured")
class Featured(Dataset):
    """Latents of pictures, with features of each."""

    extra = ("features",)
    maps = ("features",)

    def __init__(self, channels: int, size: tuple[int, ...], num_classes: int) -> None:
        self.shape, self.num_classes = (channels, *size), num_classes

    def open(self, split: Any = "train") -> Source:
        return FeaturedSource(self.shape, max(self.num_classes, 1), split)


PARTS = (Aligns, Featured)
