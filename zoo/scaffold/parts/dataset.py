"""A dataset: where latents and labels come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from torch import Tensor

import zoo
from zoo.data import Dataset, Samples, Source, Split, two_axes


@zoo.part("dataset", "mine")
class MineDataset(Dataset):
    """Example: stripes from -1 to 1, in a phase of their own; the class says how many: for trials, without a file.

    Options:
        samples: to train on; a fourth as many, and others, are held out.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, ...],
        num_classes: int,
        *,
        samples: Annotated[int, Field(ge=4, le=1_000_000)] = 256,
    ) -> None:
        self.shape = (channels, *two_axes(size))
        self.classes, self.samples = max(1, num_classes), samples

    def open(self, split: Split = "train") -> MineSource:
        """The samples of a split; only here may a dataset read files."""
        if split == "train":
            return MineSource(self.shape, self.classes, range(self.samples))
        return MineSource(self.shape, self.classes, range(self.samples, self.samples + self.samples // 4))

    def to_images(self, latents: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B height width channels"]:
        """Grey pictures, the mean over channels."""
        grey = latents.float().mean(dim=1).unsqueeze(3)
        return ((grey.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


class MineSource(Source):
    """Stripes by number: the same picture whenever it is asked for."""

    def __init__(self, shape: tuple[int, int, int], classes: int, numbers: Sequence[int]) -> None:
        self.shape, self.numbers = shape, np.asarray(numbers)
        self.classes = tuple(f"{each + 1} stripes" for each in range(classes))

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, indices: Int[np.ndarray, " B"], random: Sequence[np.random.Generator]) -> Samples:
        """The samples at ``indices``; what is drawn anew at every reading, such as flips, comes from ``random``."""
        _, _, width = self.shape
        phases = np.array([np.random.default_rng(number).random() for number in self.numbers[indices].tolist()])
        labels = self.labels(indices)
        way = torch.arange(width) / width
        waves = torch.sin(2 * torch.pi * ((labels.unsqueeze(1) + 1) * way + torch.tensor(phases).unsqueeze(1)))
        return Samples(waves.float()[:, None, None].repeat(1, *self.shape[:2], 1), labels)

    def labels(self, indices: Int[np.ndarray, " B"]) -> Int[Tensor, " B"]:
        """Classes in turn."""
        return torch.tensor(self.numbers[indices] % len(self.classes))

    def id(self, index: int) -> str:
        """Its number."""
        return f"stripes {self.numbers[index]}"
