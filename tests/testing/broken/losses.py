"""Losses that break a law."""

from __future__ import annotations

import random
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tests.testing.broken import Broken
from zoo.flow.base import Loss, LossInputs
from zoo.flow.losses import CosineLoss, SquaredErrorLoss
from zoo.parts import Linear
from zoo.parts.values import Tap
from zoo.registry import part
from zoo.testing import laws, loss_laws, options_laws, train_laws


class Plain(SquaredErrorLoss):
    def __init__(self) -> None:
        super().__init__()


@part("loss", "mean_of_all")
class MeanOfAll(Plain):
    def forward(self, inputs: LossInputs) -> Tensor:
        return super().forward(inputs).mean()


@part("loss", "less_the_mean")
class LessTheMean(Plain):
    """Samples against the mean of the batch."""

    def forward(self, inputs: LossInputs) -> Tensor:
        return super().forward(inputs) + (inputs.prediction - inputs.prediction.mean(dim=0)).square().flatten(1).sum(1)


@part("loss", "narrow")
class Narrow(Plain):
    def forward(self, inputs: LossInputs) -> Tensor:
        return super().forward(inputs).bfloat16()


@part("loss", "unguarded")
class Unguarded(CosineLoss):
    """A direction by a ratio, which a vector of zeros has not."""

    def forward(self, inputs: LossInputs) -> Tensor:
        one, other = inputs.velocity, inputs.target_velocity
        return (1 - (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))).flatten(1).mean(1)


@part("loss", "infinite_at_noise")
class InfiniteAtNoise(Plain):
    """Divides by how much data is left."""

    def forward(self, inputs: LossInputs) -> Tensor:
        return super().forward(inputs) / (1 - inputs.t)


@part("loss", "detached")
class Detached(Plain):
    def forward(self, inputs: LossInputs) -> Tensor:
        return super().forward(inputs).detach()


@part("loss", "turned")
class Turned(Plain):
    """The sign of what is to be maximised."""

    def forward(self, inputs: LossInputs) -> Tensor:
        return -super().forward(inputs)


@part("loss", "in_place")
class InPlace(Plain):
    """No gradient sees what it does to the prediction, and the next loss does."""

    def forward(self, inputs: LossInputs) -> Tensor:
        with torch.no_grad():
            inputs.velocity.mul_(0.5)
        return super().forward(inputs)


@part("loss", "remembering")
class Remembering(Plain):
    """The error less that of the stage before."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[float] = [0.0]

    def forward(self, inputs: LossInputs) -> Tensor:
        value = super().forward(inputs)
        self.before.append(float(value[0]))
        return value - self.before[-2]


@part("loss", "one_off")
class OneOff(Plain):
    """Other numbers wherever it was asked something else before."""

    def __init__(self) -> None:
        super().__init__()
        self.last: list[Any] = []

    def forward(self, inputs: LossInputs) -> Tensor:
        value = super().forward(inputs)
        again, self.last = self.last[-1:], [float(inputs.t[0])]
        return value if not again or again == self.last else 2 * value


@part("loss", "on_the_cpu")
class OnTheCPU(Plain):
    def forward(self, inputs: LossInputs) -> Tensor:
        return super().forward(inputs) * torch.ones(len(inputs.t), dtype=inputs.data.dtype, device="cpu")


@part("loss", "silent_weights")
class SilentWeights(Plain):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = Linear(channels, 1)


@part("loss", "unsaved")
class Unsaved(Plain):
    """A direction that is drawn, and stands in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = random.random()

    def forward(self, inputs: LossInputs) -> Tensor:
        return self.scale * super().forward(inputs)


@part("loss", "unheard")
class Unheard(Plain):
    """Has an option that nothing hangs on."""

    def __init__(self, *, power: int = 2) -> None:
        super().__init__()
        self.power = power


@part("loss", "masked")
class Masked(Plain):
    """Samples that are multiplied into each other by zero."""

    def forward(self, inputs: LossInputs) -> Tensor:
        value = super().forward(inputs)
        return torch.eye(len(value), dtype=value.dtype, device=value.device) @ value


@part("loss", "shared_weights")
class SharedWeights(Plain):
    """All builds have one scale."""

    scale = nn.Parameter(torch.ones(1))

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("own", self.scale)

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def forward(self, inputs: LossInputs) -> Tensor:
        return self.scale * super().forward(inputs)


class OfTokens(Loss):
    """Tokens of the first block against a number of each place."""

    taps = (0,)

    def __init__(self, block_dims: tuple[int, ...]) -> None:
        super().__init__()
        self.proj = Linear(block_dims[0], 1)

    def forward(self, inputs: LossInputs) -> Tensor:
        tap = inputs.taps[0]
        found = self.proj(tap.tokens[:, tap.m :]).squeeze(2)
        return self.apart(found.to(inputs.data.dtype), torch.arange(prod(tap.grid), device=found.device), tap)

    def apart(self, found: Tensor, wanted: Tensor, tap: Tap) -> Tensor:
        return (found - (wanted if tap.index is None else wanted[tap.index])).square().mean(1)


@part("loss", "of_all_tokens")
class OfAllTokens(OfTokens):
    """Knows of no router."""

    def apart(self, found: Tensor, wanted: Tensor, tap: Tap) -> Tensor:
        both = torch.stack([found, wanted.to(found).expand(len(found), -1)])  # which broadcasts not even a single token
        return both.diff(dim=0).square().mean((0, 2))


@part("loss", "of_the_first_tokens")
class OfTheFirstTokens(OfTokens):
    """Takes those that a router leaves for the first ones."""

    def apart(self, found: Tensor, wanted: Tensor, tap: Tap) -> Tensor:
        return (found - wanted[: found.shape[1]]).square().mean(1)


BROKEN: list[Broken] = [
    (laws.shape_contract, MeanOfAll, "returns shapes"),
    (laws.batch_invariance, LessTheMean, "depends on the rest of its batch"),
    (loss_laws.leaves_its_inputs, InPlace, "changes inputs.prediction where velocity is predicted"),
    (loss_laws.is_a_wide_number, Narrow, "returns torch.bfloat16"),
    (loss_laws.is_a_wide_number, Unguarded, "is not finite"),
    (loss_laws.is_a_wide_number, InfiniteAtNoise, "is not finite where velocity is predicted"),
    (loss_laws.pulls_the_weights, Detached, "no gradient comes"),
    (loss_laws.is_least_at_the_target, Turned, "it is less elsewhere"),
    (laws.keeps_device, OnTheCPU, "device"),
    (loss_laws.stands_alone, OneOff, "it tells something else when asked again"),
    (laws.is_deterministic, Remembering, "two passes differ"),
    (laws.gradient_reaches_parameters, SilentWeights, "no gradient reaches"),
    (laws.state_round_trip, Unsaved, "does not carry"),
    (laws.builds_share_nothing, SharedWeights, "share a tensor"),
    (options_laws.every_option_changes_something, Unheard, "power"),
    (train_laws.keeps_nan_apart, Masked, "reaches others"),
    (laws.shape_contract, OfAllTokens, "expects each tensor to be equal size"),
    (loss_laws.knows_tokens_by_their_index, OfTheFirstTokens, "with the last tokens first, it tells something else"),
]
