"""Features: pictures as numbers that metrics compare."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from pydantic import Field

import zoo
from zoo.evaluate import Features, FeatureSet, Images


@zoo.part("features", "mine")
class MineFeatures(Features):
    """Example: means of the pixels over the cells of a coarse grid: a thumbnail.

    Options:
        cells: of the grid, on each axis.
    """

    def __init__(self, *, cells: Annotated[int, Field(ge=1, le=64)] = 4) -> None:
        self.cells = cells

    def fit(self, real: Images) -> None:
        """Nothing is learnt from the real images."""

    def of(self, images: UInt8[np.ndarray, "n H W C"], labels: Int[np.ndarray, " n"] | None) -> FeatureSet:
        """Means from 0 to 1, each image for itself."""
        pixels = torch.from_numpy(images.astype(np.float64)).movedim(3, 1) / 255
        means = F.adaptive_avg_pool2d(pixels, self.cells).flatten(1)
        return FeatureSet(pooled=means.numpy(), labels=labels)
