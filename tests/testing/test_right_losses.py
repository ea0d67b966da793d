"""Losses that are right: zero on most of what the kit draws, or by a network that is not trained."""

from typing import Annotated

import pytest
import torch
from pydantic import Field

from zoo.flow.base import Loss
from zoo.parts import Linear
from zoo.registry import part
from zoo.testing import check_part, laws, loss_laws


class OfSamples(Loss):
    def forward(self, inputs):
        return (inputs.prediction - inputs.target).square().flatten(1).mean(1)


@part("loss", "at_low_noise")
class AtLowNoise(OfSamples):
    def __init__(self, *, below: Annotated[float, Field(gt=0.05, le=1.0)] = 0.1) -> None:
        super().__init__()
        self.below = below

    def forward(self, inputs):
        return torch.where(inputs.t < self.below, super().forward(inputs), 0)


@part("loss", "above_a_margin")
class AboveAMargin(OfSamples):
    def __init__(self, *, margin: Annotated[float, Field(ge=0.0, le=9.0)] = 6.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, inputs):
        return ((inputs.prediction - inputs.target).abs() - self.margin).clamp(min=0).flatten(1).mean(1)


@part("loss", "below_a_limit")
class BelowALimit(OfSamples):
    def forward(self, inputs):
        return super().forward(inputs).clamp(max=0.05)


@part("loss", "of_the_third_stage")
class OfTheThirdStage(OfSamples):
    """By a direction of its own, which learns there alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = Linear(channels, 1)

    def forward(self, inputs):
        error = inputs.prediction - inputs.target
        found = self.proj(error.movedim(1, -1).to(self.proj.weight.dtype)).to(error.dtype)
        return found.square().flatten(1).mean(1) * (inputs.stage == 2)


@part("loss", "by_a_frozen_network")
class ByAFrozenNetwork(OfTheThirdStage):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.proj.requires_grad_(False)


@part("loss", "of_large_tokens")
class OfLargeTokens(Loss):
    """Holds the tokens of a block small, by no weights of its own."""

    taps = (0,)

    def forward(self, inputs):
        tokens = inputs.taps[0].tokens
        return (tokens.to(inputs.prediction.dtype).abs() - 20).clamp(min=0).flatten(1).mean(1)


def test_a_loss_may_be_of_taps_alone():
    check_part(OfLargeTokens, laws=[loss_laws.is_a_wide_number, loss_laws.pulls_the_weights], examples=2)


@pytest.mark.parametrize("cls", [AtLowNoise, AboveAMargin, BelowALimit, OfTheThirdStage, ByAFrozenNetwork])
def test_a_loss_may_be_zero_at_most_noise_levels_stages_and_errors(cls):
    check_part(cls, laws=[loss_laws.pulls_the_weights, laws.gradient_reaches_parameters], examples=6)
