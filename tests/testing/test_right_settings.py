"""Schedules, paths and solvers that are right, and that a law which measures too closely would refuse."""

import math

import pytest
import torch

from zoo.flow.base import Solver
from zoo.optim import Optimizer, Schedule
from zoo.paths import LinearPath
from zoo.registry import part
from zoo.testing import check_part, flow_laws, path_laws


@part("schedule", "wants_many")
class WantsMany(Schedule):
    def __init__(self, *, last: float = 0.5) -> None:
        self.last = last

    def factor(self, step, steps):
        if steps < 100:
            raise ValueError("wants 100 steps or more")
        return 1.0 if step < steps / 2 else abs(self.last)


@part("schedule", "wants_millions")
class WantsMillions(Schedule):
    def factor(self, step, steps):
        if steps < 5_000_000:
            raise ValueError("wants 5 M steps or more")
        return 1.0


@part("schedule", "to_zero_at_the_last")
class ToZeroAtTheLast(Schedule):
    def factor(self, step, steps):
        return max(0.0, 1 - (step + 1) / steps)


@part("optimizer", "of_whole_weights")
class OfWholeWeights(Optimizer):
    """PyTorch's own, whose factors of rows and columns take no DTensors."""

    shards = False

    def build(self, weights, learning_rate):
        return torch.optim.Adafactor([each.parameter for each in weights], lr=learning_rate)


@part("optimizer", "of_shards")
class OfShards(OfWholeWeights):
    shards = True


def test_an_optimizer_may_say_that_it_takes_no_shards():
    check_part(OfWholeWeights, examples=3)
    with pytest.raises(AssertionError, match="breaks the law updates_shards_as_one"):
        check_part(OfShards, laws=["updates_shards_as_one"])


def test_a_schedule_may_refuse_few_steps_and_end_at_zero():
    check_part(WantsMany, examples=3)
    check_part(WantsMillions, examples=3)
    check_part(ToZeroAtTheLast, examples=3)


@part("path", "of_lines")
class OfLines(LinearPath):
    """A table of 20 pieces, with lines between: its slope is another on either side of a knot."""

    def rates(self, t):
        return tuple(each * self._pieces(t)[1] for each in (-1, 1))

    def alpha(self, t):
        return 1 - self.sigma(t)

    def sigma(self, t):
        start, slope, at = (*self._pieces(t), (20 * t).floor().clamp(0, 19) / 20)
        return start + slope * (t - at)

    def _pieces(self, t):
        knots = 1 - torch.cos(torch.linspace(0, math.pi / 2, 21, dtype=torch.float64, device=t.device))
        at = (20 * t).floor().clamp(0, 19).long()
        return knots[at], 20 * (knots[at + 1] - knots[at])


def test_a_path_may_have_kinks():
    check_part(OfLines, laws=path_laws.LAWS["path"], examples=1)


@part("solver", "churning")
class Churning(Solver):
    """EDM's stochastic sampler by Euler's steps: before each the noise level rises a little (arXiv 2206.00364)."""

    def levels(self, steps):
        return tuple(min(1.0, 1 - k / steps + 0.2 / steps) for k in range(steps))

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        z, last = noise, 1.0
        for k, t in enumerate(self.levels(steps)):
            if t > last:
                now, before = path.at(t), path.at(last)
                ratio = now.alpha / before.alpha
                z = ratio * z + math.sqrt(now.sigma**2 - (ratio * before.sigma) ** 2) * draw(k)
            last = 1 - (k + 1) / steps
            z = z + (last - t) * velocity(z, t)
        return z


@part("solver", "churning_twice")
class ChurningTwice(Churning):
    """The same by Heun's, whose levels rise."""

    def levels(self, steps):
        pairs = ((t, 1 - (k + 1) / steps) for k, t in enumerate(super().levels(steps)))
        return tuple(t for pair in pairs for t in pair)

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        def mean(z, t):
            nonlocal number
            ends = self.levels(steps)[2 * number : 2 * number + 2]
            number, one = number + 1, velocity(z, t)
            return (one + velocity(z + (ends[1] - t) * one, ends[1])) / 2

        number, inner = 0, Churning()
        return inner.solve(mean, noise, steps, path, draw, thresholds)


def test_noise_levels_may_rise_in_between():
    names = ("follows_its_levels", "reaches_the_data")
    check_part(ChurningTwice, laws=[getattr(flow_laws, name) for name in names], examples=1)
