"""A normalisation: how a dataset's latents are scaled for the backbone."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.data import Normalize


@zoo.part("normalize", "mine")
class MineNormalize(Normalize):
    """Example: ``asinh(factor * x)``, which leaves small values in proportion and brings large ones near.

    Options:
        factor: of the latents.
    """

    def __init__(self, *, factor: Annotated[float, Field(ge=0.01, le=100.0)] = 1.0) -> None:
        self.factor = factor

    def apply(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """The dataset's latents as the backbone sees them."""
        return (self.factor * latents).asinh()

    def invert(self, latents: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """What ``apply`` was given."""
        return latents.sinh() / self.factor
