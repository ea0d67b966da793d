"""Noise samplers, weightings and solvers that break a law."""

import torch

from tests.testing.broken import Broken
from zoo.flow.euler_maruyama import EulerMaruyamaSolver
from zoo.flow.noise_samplers import LogitNormalNoise, UniformNoise
from zoo.flow.solvers import EulerSolver, HeunSolver
from zoo.flow.weightings import SNRWeighting, UniformWeighting
from zoo.paths import LinearPath
from zoo.registry import part
from zoo.testing import flow_laws


@part("noise_sampler", "narrow")
class Narrow(LogitNormalNoise):
    """A quantile of another distribution than the cdf."""

    def quantile(self, u):
        return LogitNormalNoise(mean=self.mean, std=self.std / 2).quantile(u)


@part("noise_sampler", "data_clock")
class DataClock(UniformNoise):
    def quantile(self, u):
        return 1 - u

    def cdf(self, t):
        return 1 - t


@part("noise_sampler", "discrete")
class Discrete(UniformNoise):
    """A thousand noise levels, counted from 1 to 1000."""

    def quantile(self, u):
        return (1000 * u).floor() + 1


@part("noise_sampler", "shifted")
class Shifted(UniformNoise):
    def quantile(self, u):
        return (u - 0.01) / 0.99

    def cdf(self, t):
        return 0.01 + 0.99 * t


@part("noise_sampler", "double_precision")
class DoublePrecision(UniformNoise):
    def quantile(self, u):
        return u.double()


@part("weighting", "unclamped")
class Unclamped(SNRWeighting):
    def weight(self, t, snr):
        return ((1 - t) / t).square()


@part("weighting", "in_place_ratio")
class InPlaceRatio(SNRWeighting):
    def weight(self, t, snr):
        return snr.clamp_(max=5)


@part("weighting", "negative")
class Negative(UniformWeighting):
    def weight(self, t, snr):
        return 0.5 - t


@part("weighting", "nowhere")
class Nowhere(UniformWeighting):
    def weight(self, t, snr):
        return torch.zeros_like(t)


@part("weighting", "single_precision_weight")
class SinglePrecisionWeight(UniformWeighting):
    def weight(self, t, snr):
        return torch.ones(len(t))


@part("weighting", "one_for_all")
class OneForAll(UniformWeighting):
    def weight(self, t, snr):
        return t.new_ones(())


@part("solver", "other_levels")
class OtherLevels(EulerSolver):
    """Tells noise levels that it does not use."""

    def levels(self, steps):
        return tuple(1 - k / (steps + 1) for k in range(steps + 1))


@part("solver", "fewer_steps")
class FewerSteps(EulerSolver):
    """The published 250 steps that are 249."""

    def levels(self, steps):
        return super().levels(max(1, steps - 1))

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        return super().solve(velocity, noise, max(1, steps - 1), path, draw, thresholds)


@part("solver", "same_noise")
class SameNoise(EulerSolver):
    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        return super().solve(lambda z, t: velocity(z, t) + draw(0) * 0, noise, steps, path, draw, thresholds)


@part("solver", "backwards")
class Backwards(EulerSolver):
    def levels(self, steps):
        return super().levels(steps)[::-1]

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        return super().solve(lambda z, t: velocity(z, 1 + 1 / steps - t), noise, steps, path, draw, thresholds)


@part("solver", "single_precision_state")
class SinglePrecisionState(EulerSolver):
    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        return super().solve(velocity, noise.float(), steps, path, draw, thresholds)


@part("solver", "in_place_state")
class InPlaceState(EulerSolver):
    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        return noise.copy_(super().solve(velocity, noise, steps, path, draw, thresholds))


@part("solver", "centred")
class Centred(EulerSolver):
    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        return super().solve(velocity, noise - noise.mean(dim=0) / 100, steps, path, draw, thresholds)


@part("solver", "stops_early")
class StopsEarly(EulerSolver):
    """Leaves out the last step, as those do who take the levels for the ends of steps."""

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        z = super().solve(velocity, noise, steps, path, draw, thresholds)
        return z + velocity(z, 1 / steps) / steps


@part("solver", "half_of_heun")
class HalfOfHeun(HeunSolver):
    """Right for constant velocities alone: the second evaluation is at the first's place."""

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        z = noise
        for k in range(steps):
            t = (steps - k) / steps
            z = z - (velocity(noise, t) + velocity(noise, t - 1 / steps)) / (2 * steps)
        return z


@part("solver", "noise_without_drift")
class NoiseWithoutDrift(EulerSolver):
    """Adds noise, and no score to make up for it."""

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        z = noise
        for k, t in enumerate(self.levels(steps)):
            z = z - velocity(z, t) / steps + draw(k) / steps**0.5
        return z


@part("solver", "score_of_the_line")
class ScoreOfTheLine(EulerMaruyamaSolver):
    """Takes every path for the straight line."""

    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        return super().solve(velocity, noise, steps, LinearPath(), draw, thresholds)


@part("solver", "state_on_the_cpu")
class StateOnTheCPU(EulerSolver):
    def solve(self, velocity, noise, steps, path, draw, thresholds=()):
        super().solve(velocity, noise, steps, path, draw, thresholds)
        return torch.zeros(noise.shape, dtype=noise.dtype)


@part("noise_sampler", "sorts")
class Sorts(UniformNoise):
    def quantile(self, u):
        return u.flatten().sort().values.reshape(u.shape)


@part("weighting", "mean_of_one")
class MeanOfOne(UniformWeighting):
    def weight(self, t, snr):
        weight = 1 / (1 + snr)
        return weight / weight.mean()


BROKEN: list[Broken] = [
    (flow_laws.cdf_inverts_quantile, Narrow, "cdf is not the inverse"),
    (flow_laws.quantile_rises, DataClock, "quantile falls"),
    (flow_laws.quantile_rises, Discrete, r"leaves \[0, 1\]"),
    (flow_laws.cdf_has_both_ends, Shifted, "cdf is 0.01 at 0"),
    (flow_laws.sampler_keeps_dtype, DoublePrecision, "returns torch.float64 for torch.float32"),
    (flow_laws.weighs_every_noise_level, Unclamped, "not finite"),
    (flow_laws.weighs_every_noise_level, Negative, "negative"),
    (flow_laws.weighs_every_noise_level, Nowhere, "all weights are 0"),
    (flow_laws.weighs_every_noise_level, InPlaceRatio, "changes its inputs"),
    (flow_laws.weighs_every_noise_level, SinglePrecisionWeight, "returns torch.float32 for torch.float64"),
    (flow_laws.weighs_every_noise_level, OneForAll, "returns shape"),
    (flow_laws.follows_its_levels, OtherLevels, "evaluates at"),
    (flow_laws.follows_its_levels, FewerSteps, "too few noise levels"),
    (flow_laws.follows_its_levels, SameNoise, "uses noise twice"),
    (flow_laws.follows_its_levels, Backwards, "starts at noise level"),
    (flow_laws.solver_keeps_dtype, SinglePrecisionState, "returns torch.float32 for torch.float64"),
    (flow_laws.solver_keeps_dtype, InPlaceState, "changes the noise"),
    (flow_laws.solver_keeps_device, StateOnTheCPU, "leaves the device"),
    (flow_laws.solves_each_alone, Centred, "depends on the rest of its batch"),
    (flow_laws.is_exact_on_straight_lines, StopsEarly, "leads elsewhere"),
    (flow_laws.reaches_the_data, HalfOfHeun, "does not become the data"),
    (flow_laws.reaches_the_data, NoiseWithoutDrift, "come out with"),
    (flow_laws.reaches_the_data_on_other_paths, ScoreOfTheLine, "come out with"),
    (flow_laws.sampler_takes_each_alone, Sorts, "the quantile of one noise level hangs on the others"),
    (flow_laws.weighs_each_alone, MeanOfOne, "the weight of one noise level hangs on the others"),
]
