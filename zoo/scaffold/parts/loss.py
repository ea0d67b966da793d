"""A loss: a term of what training minimises."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

import zoo
from zoo.flow import Loss, LossInputs


@zoo.part("loss", "mine")
class MineLoss(Loss):
    """Example: Pseudo-Huber: far errors pull no harder than ones of size c (Song and Dhariwal, 2023, arXiv 2310.14189).

    Options:
        c: size of a number's error from which on it grows in a line; the paper's is 0.00054.
    """

    def __init__(self, *, c: Annotated[float, Field(gt=0.0, le=100.0)] = 0.03) -> None:
        super().__init__()
        self.c = c

    def forward(self, inputs: LossInputs) -> Float[Tensor, " b"]:
        """``sqrt(mean of error^2 + c^2) - c`` of each sample: beside other means a sum would be all of the loss."""
        squares = (inputs.prediction - inputs.target).square().flatten(1).mean(dim=1)
        return (squares + self.c**2).sqrt() - self.c
