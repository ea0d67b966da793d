"""Built-in normalisations: how a dataset's latents are scaled for the backbone."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zoo.data.base import Normalize, Statistics
from zoo.errors import DataError, KeyPath, OptionError
from zoo.registry import part

Factor = Annotated[float, Field(ge=1e-6, le=1e6)]
Offset = Annotated[float, Field(ge=-1e6, le=1e6)]
Factors = Annotated[tuple[Factor, ...], Field(min_length=1, max_length=65536)]
Offsets = Annotated[tuple[Offset, ...], Field(min_length=1, max_length=65536)]


@part("normalize", "none")
class NoNormalize(Normalize):
    """Latents as the dataset has them."""

    def apply(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """The latents themselves."""
        return latents

    def invert(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """The latents themselves."""
        return latents


@part("normalize", "scale")
class Scale(Normalize):
    """One factor for all channels, as published VAEs have it: ``(x - shift) * factor``. SD's is 0.18215.

    Options:
        factor: a VAE's ``scaling_factor``.
        shift: a VAE's ``shift_factor``.
    """

    def __init__(self, *, factor: Factor, shift: Offset = 0.0) -> None:
        self.factor = factor
        self.shift = shift

    def apply(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """``(latents - shift) * factor``."""
        return (latents - self.shift) * self.factor

    def invert(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """``latents / factor + shift``."""
        return latents / self.factor + self.shift


@part("normalize", "per_channel")
class PerChannel(Normalize):
    """Zero mean and unit deviation in every channel: ``(x - mean) / std``, as MPDiT trains.

    Options:
        mean: of each channel; the dataset's recorded ones if left out.
        std: of each channel; likewise.
    """

    def __init__(self, channels: int, *, mean: Offsets | None = None, std: Factors | None = None) -> None:
        given = {"mean": mean, "std": std}
        problems: list[tuple[KeyPath, str]] = [
            ((name,), f"has {_counted(len(values), 'number')}, and the latent has {_counted(channels, 'channel')}")
            for name, values in given.items()
            if values is not None and len(values) != channels
        ]
        if (mean is None) != (std is None):
            missing = "mean" if mean is None else "std"
            problems.append(((), f"{missing!r} is missing: give both mean and std, or neither"))
        if problems:
            raise OptionError(problems)
        self.channels = channels
        self.mean = mean
        self.std = std

    def apply(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """``(latents - mean) / std``."""
        mean, std = self._like(latents)
        return (latents - mean) / std

    def invert(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """``latents * std + mean``."""
        mean, std = self._like(latents)
        return latents * std + mean

    def fitted(self, statistics: Statistics | None) -> dict[str, object]:
        """The recorded mean and standard deviation as options; {} where the recipe gives them."""
        if self.mean is not None:
            return {}
        if statistics is None:
            raise DataError(
                "normalize per_channel: this dataset records no statistics; give mean and std in the recipe"
                " (data.normalize.mean, data.normalize.std), or take normalize none or scale"
            )
        for name, values in (("mean", statistics.mean), ("std", statistics.std)):
            if len(values) != self.channels:
                raise DataError(
                    f"normalize per_channel: the dataset records a {name} of {_counted(len(values), 'channel')},"
                    f" and the latent has {self.channels}; let it record one for each channel"
                )
        if not all(value >= 1e-6 for value in statistics.std):  # also not a number
            raise DataError(
                "normalize per_channel: a channel of this dataset hardly varies"
                f" (recorded std {', '.join(f'{value:.3g}' for value in statistics.std)});"
                " give mean and std in the recipe (data.normalize.mean, data.normalize.std)"
            )
        return {"mean": statistics.mean, "std": statistics.std}

    def _like(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.std is None:
            raise DataError(
                "normalize per_channel has no mean and std yet: they are taken from the dataset when training starts;"
                " give them in the recipe (data.normalize.mean, data.normalize.std) to use it before"
            )
        mean, std = (
            torch.tensor(values, dtype=latents.dtype, device=latents.device).view(-1, *[1] * (latents.ndim - 2))
            for values in (self.mean, self.std)
        )
        return mean, std


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
