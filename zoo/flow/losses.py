"""Built-in terms of the loss."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from zoo.flow.base import Loss, LossInputs
from zoo.registry import part


@part("loss", "squared_error")
class SquaredErrorLoss(Loss):
    """Mean squared error: flow matching's, and DDPM's where noise is predicted (arXiv 2006.11239, section 3.4).

    Options:
        of: what the weights predict, or the velocity that it stands for.
    """

    def __init__(self, *, of: Literal["prediction", "velocity"] = "prediction") -> None:
        super().__init__()
        self.of = of

    def forward(self, inputs: LossInputs) -> Float[Tensor, " b"]:
        """The mean over channels and places of each sample."""
        predicted, target = (
            (inputs.velocity, inputs.target_velocity) if self.of == "velocity" else (inputs.prediction, inputs.target)
        )
        return (predicted - target).square().flatten(1).mean(dim=1)


@part("loss", "cosine")
class CosineLoss(Loss):
    """One minus the cosine between the velocity and what it should be, over the channels of a place (LightningDiT).

    Yao and Wang, 2025 (arXiv 2501.01423), beside the squared error: it asks for the direction alone.

    Raises:
        ValueError: latents of one channel, which has no direction to turn to.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError("compares directions of channels, and the latents have but one channel; take another loss")

    def forward(self, inputs: LossInputs) -> Float[Tensor, " b"]:
        """The mean over the places of each sample; in [0, 2], and 1 where one of both is zero."""
        cosine = F.cosine_similarity(inputs.velocity, inputs.target_velocity, dim=1)
        return (1 - cosine).flatten(1).mean(dim=1)
