"""Normalisations that break a law."""

from typing import Annotated

import torch
from pydantic import Field

from tests.testing.broken import Broken
from zoo.data.base import Normalize
from zoo.registry import part
from zoo.testing import data_laws


@part("normalize", "forgets_the_shift")
class ForgetsTheShift(Normalize):
    def apply(self, latents):
        return (latents - 1) * 2

    def invert(self, latents):
        return latents / 2


@part("normalize", "far_off")
class FarOff(Normalize):
    """The last digit that its offset leaves in float32 is worth 0.0625."""

    def apply(self, latents):
        return latents + 1e6

    def invert(self, latents):
        return latents - 1e6 + 0.5


@part("normalize", "double_precision_latents")
class DoublePrecisionLatents(Normalize):
    def apply(self, latents):
        return latents.double() * 2

    def invert(self, latents):
        return latents / 2


@part("normalize", "only_pictures")
class OnlyPictures(Normalize):
    """Takes an axis before height and width for channels."""

    def apply(self, latents):
        return latents.reshape(len(latents), -1, *latents.shape[-2:]) if latents.ndim > 4 else latents

    def invert(self, latents):
        return latents


@part("normalize", "takes_statistics")
class TakesStatistics(Normalize):
    def __init__(self, *, std: Annotated[float, Field(gt=0.0)] | None = None) -> None:
        self.std = std

    def fitted(self, statistics):
        return {"std": statistics.std[0]}

    def apply(self, latents):
        return latents / self.std

    def invert(self, latents):
        return latents


@part("normalize", "remembers_the_mean")
class RemembersTheMean(Normalize):
    """Inverts what it applied last, and nothing else."""

    mean = 0.0

    def apply(self, latents):
        self.mean = latents.mean().item()
        return latents - self.mean

    def invert(self, latents):
        return latents + self.mean


@part("normalize", "by_position")
class ByPosition(Normalize):
    """Adds to a sample where it is in its batch."""

    def places(self, latents):
        return torch.arange(len(latents)).flip(0).to(latents).view(-1, *[1] * (latents.ndim - 1))

    def apply(self, latents):
        return latents + self.places(latents)

    def invert(self, latents):
        return latents - self.places(latents)


BROKEN: list[Broken] = [
    (data_laws.inverts, ForgetsTheShift, "does not undo"),
    (data_laws.inverts, FarOff, "does not undo"),
    (data_laws.inverts, TakesStatistics, "does not undo"),
    (data_laws.inverts, OnlyPictures, "changes the shape"),
    (data_laws.inverts, DoublePrecisionLatents, "changes torch.float32"),
    (data_laws.inverts, RemembersTheMean, "built anew, it does not invert what was applied"),
    (data_laws.inverts, ByPosition, "a sample alone is applied otherwise"),
]
