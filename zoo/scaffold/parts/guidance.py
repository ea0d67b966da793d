"""Guidance: what a second prediction makes of the velocity."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.flow import AffinePath, Guidance


@zoo.part("guidance", "mine")
class MineGuidance(Guidance):
    """Example: classifier-free guidance brought back to the length of the velocity (Lin et al., arXiv 2305.08891, 3.4).

    They do so with the prediction of the weights, and its deviation.

    Options:
        scale: 1 is none, and costs nothing.
        rescale: how far back: 0 is classifier-free guidance, by 1 velocities are as long as without it.
    """

    second = "null"

    def __init__(
        self,
        *,
        scale: Annotated[float, Field(ge=0.0)] = 1.0,
        rescale: Annotated[float, Field(ge=0.0, le=1.0)] = 0.7,
    ) -> None:
        self.strength, self.rescale = scale, rescale
        self.is_none = scale == 1.0

    def scale(self, stage: int, t: float) -> float:
        """The same everywhere."""
        return self.strength

    def join(
        self,
        stage: int,
        t: float,
        first: Float[Tensor, "B C *size"],
        second: Float[Tensor, "B C *size"] | None,
        z: Float[Tensor, "B C *size"],
        path: AffinePath,
    ) -> Float[Tensor, "B C *size"]:
        """Away from the velocity without label, each sample by itself."""
        assert second is not None  # as it was asked for
        guided = second + self.strength * (first - second)
        factor = _length(first) / _length(guided).clamp(min=1e-6)
        return guided * (1 + self.rescale * (factor - 1))


def _length(tensor: Tensor) -> Tensor:
    return tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.ndim - 1))
