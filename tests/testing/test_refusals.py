"""Parts that need something, or refuse what is too small for them, and are tried with what suits them."""

import numpy as np
import pytest
import torch
from torch import nn

from zoo.evaluate import Features, FeatureSet, Metric
from zoo.flow import Solver
from zoo.optim import Schedule
from zoo.parts import Block
from zoo.registry import part
from zoo.testing import check_part
from zoo.testing.check import part_cases
from zoo.testing.conformance import entries_of

pytestmark = pytest.mark.usefixtures("drawn_as_ever")


@part("block", "own_front")
class OwnFront(Block):
    needs = frozenset({"prefix"})

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.front, self.image = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward_stage(self, tokens, vectors, layout, *taken):
        front, image = tokens[:, : layout.m], tokens[:, layout.m :]
        return tokens + torch.cat([self.front(front), self.image(image)], dim=1)


def test_a_part_that_needs_tokens_in_front_is_tried_with_some():
    check_part(OwnFront, laws=["shape_contract", "gradient_reaches_parameters"])
    assert all(case.m for case in part_cases(*entries_of([OwnFront])))


@part("solver", "of_two_steps")
class OfTwoSteps(Solver):
    least = 2

    def levels(self, steps):
        if steps < self.least:
            raise ValueError(f"takes {self.least} steps or more")
        return tuple(1 - k / steps for k in range(steps))

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        z = noise
        for t in self.levels(steps):
            z = z - velocity(z, t) / steps
        return z


@part("solver", "of_ten_steps")
class OfTenSteps(OfTwoSteps):
    least = 10


@part("metric", "of_500")
class Of500(Metric):
    def measure(self, real, generated):
        if min(len(real), len(generated)) < 500:
            raise ValueError("takes 500 images or more")
        return {"mean": float(generated.pooled.mean() - real.pooled.mean())}


@part("features", "of_32_pixels")
class Of32Pixels(Features):
    def fit(self, real):
        pass

    def of(self, images, labels):
        if min(images.shape[1:3]) < 32:
            raise ValueError("takes pictures of 32 pixels and more")
        if images.shape[3] != 3:
            raise ValueError("takes RGB pictures")
        return FeatureSet(pooled=images.reshape(len(images), -1)[:, :8].astype(np.float32), labels=labels)


@part("schedule", "of_whole_numbers")
class OfWholeNumbers(Schedule):
    def factor(self, step, steps):
        return 1


@pytest.mark.parametrize("cls", [OfTwoSteps, OfTenSteps, Of500, Of32Pixels, OfWholeNumbers])
def test_a_part_may_refuse_what_is_too_small_for_it(cls):
    check_part(cls, examples=3)
