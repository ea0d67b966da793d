"""Paths that break a law."""

import torch

from tests.testing.broken import Broken
from zoo.paths import AffinePath, LinearPath, VariancePreservingPath
from zoo.registry import part
from zoo.testing import path_laws


@part("path", "without_end")
class WithoutEnd(LinearPath):
    def sigma(self, t):
        return t / (1 - t)


@part("path", "made_on_the_cpu")
class MadeOnTheCPU(LinearPath):
    def alpha(self, t):
        return torch.ones(t.shape, dtype=t.dtype) - torch.linspace(0, 1, len(t), dtype=t.dtype)


@part("path", "single_precision")
class SinglePrecision(LinearPath):
    def alpha(self, t):
        return 1 - t.float()


@part("path", "turned")
class Turned(LinearPath):
    """SiT's own clock: 0 = noise."""

    def alpha(self, t):
        return t

    def sigma(self, t):
        return 1 - t


@part("path", "half_way")
class HalfWay(LinearPath):
    def alpha(self, t):
        return 1 - t / 2

    def sigma(self, t):
        return t / 2


@part("path", "exploding")
class Exploding(LinearPath):
    """The variance-exploding one, as it is written: the state is not scaled."""

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return 80 * t


@part("path", "rates_of_the_line")
class RatesOfTheLine(VariancePreservingPath):
    def rates(self, t):
        return -torch.ones_like(t), torch.ones_like(t)


@part("path", "with_another_rate")
class WithAnotherRate(LinearPath):
    """At t = 1, where sampling starts."""

    def rates(self, t):
        alpha_rate, sigma_rate = super().rates(t)
        return torch.where(t == 1, 2 * alpha_rate, alpha_rate), sigma_rate


@part("path", "with_another_rate_near_data")
class WithAnotherRateNearData(LinearPath):
    def rates(self, t):
        alpha_rate, sigma_rate = super().rates(t)
        return alpha_rate, torch.where(t < 0.015, 2 * sigma_rate, sigma_rate)


@part("path", "roots")
class Roots(LinearPath):
    """Keeps the variance, and has no slope where sampling starts."""

    rates = AffinePath.rates

    def alpha(self, t):
        return (1 - t).sqrt()

    def sigma(self, t):
        return t.sqrt()


@part("path", "still_clock")
class StillClock(LinearPath):
    def clock(self, t):
        return torch.zeros_like(t)


@part("path", "turned_clock")
class TurnedClock(LinearPath):
    def clock(self, t):
        return 1 - t


@part("path", "whole_ticks")
class WholeTicks(LinearPath):
    def clock(self, t):
        return (1000 * t).long()


@part("path", "up_to_the_noisiest")
class UpToTheNoisiest(LinearPath):
    def sigma(self, t):
        return t / t.max().clamp(min=0.5)


class Segments(LinearPath):
    """The line, cut where stages change."""

    def __init__(self, ranges: tuple[tuple[float, float], ...]) -> None:
        self.ranges = ranges

    def range(self, stage):
        return self.ranges[stage]

    def ends(self, stage, data, noise):
        low, high = self.ranges[stage]
        return (1 - low) * data + low * noise, (1 - high) * data + high * noise


@part("path", "with_a_gap")
class WithAGap(Segments):
    def range(self, stage):
        low, high = self.ranges[stage]
        return low, high - 0.01 * (high < 1)


@part("path", "of_halves")
class OfHalves(Segments):
    """As if there were always two stages."""

    def range(self, stage):
        return ((0.5, 1.0), (0.0, 0.5), (0.0, 0.5))[stage]


@part("path", "of_all_sizes")
class OfAllSizes(Segments):
    """Says that it goes between sizes, and does not."""

    resizes = True


@part("path", "ends_of_the_batch")
class EndsOfTheBatch(Segments):
    def ends(self, stage, data, noise):
        clean, noisy = super().ends(stage, data, noise)
        return clean, noisy - noisy.mean(dim=0)


@part("path", "jump_on_the_spot")
class JumpOnTheSpot(Segments):
    def jump(self, stage, z, noise):
        return z.mul_(2)


@part("path", "begun_twice_as_noisy")
class BegunTwiceAsNoisy(Segments):
    def begin(self, noise):
        return 2 * noise


@part("path", "ends_in_noise")
class EndsInNoise(Segments):
    def ends(self, stage, data, noise):
        clean, noisy = super().ends(stage, data, noise)
        return 0.9 * clean + 0.1 * noise, noisy


BROKEN: list[Broken] = [
    (path_laws.mixes_at_every_noise_level, WithoutEnd, "sigma is not finite"),
    (path_laws.mixes_at_every_noise_level, MadeOnTheCPU, "alpha leaves the device"),
    (path_laws.mixes_at_every_noise_level, SinglePrecision, "alpha is torch.float32 for torch.float64"),
    (path_laws.noise_grows, Turned, "no data at t = 0"),
    (path_laws.noise_grows, HalfWay, "no noise at t = 1"),
    (path_laws.noise_has_unit_variance, Exploding, "sigma is 80 at t = 1"),
    (path_laws.rates_are_derivatives, RatesOfTheLine, "the rate of alpha is not its slope"),
    (path_laws.rates_are_derivatives, WithAnotherRate, "the rate of alpha is not its slope at t = 1"),
    (path_laws.rates_are_derivatives, WithAnotherRateNearData, "the rate of sigma is not its slope"),
    (path_laws.rates_are_derivatives, Roots, "the rate of alpha is not finite at t = 1"),
    (path_laws.clock_keeps_time, StillClock, "the clock stands still"),
    (path_laws.clock_keeps_time, TurnedClock, "the clock falls"),
    (path_laws.clock_keeps_time, WholeTicks, "the clock is torch.int64"),
    (path_laws.path_takes_each_alone, UpToTheNoisiest, "sigma of one noise level hangs on the others"),
    (path_laws.segments_join, WithAGap, "and begins not at"),
    (path_laws.segments_join, OfHalves, "and the stage"),
    (path_laws.ends_have_their_size, OfAllSizes, "in place of"),
    (path_laws.ends_have_their_size, EndsOfTheBatch, "of a sample hangs on the others"),
    (path_laws.ends_have_their_size, JumpOnTheSpot, "changes its inputs"),
    (path_laws.begins_and_ends_as_trained, BegunTwiceAsNoisy, "sampling starts from another state"),
    (path_laws.begins_and_ends_as_trained, EndsInNoise, "the clean end of the last stage is not the data"),
]
