"""Guidance that breaks a law."""

from typing import Annotated

import torch
from pydantic import Field

from tests.testing.broken import Broken
from zoo.flow.base import Guidance
from zoo.registry import part
from zoo.testing import guidance_laws


class Plain(Guidance):
    """Keeps every law."""

    def __init__(self, *, scale: Annotated[float, Field(ge=0.0, le=4.0)] = 2.0) -> None:
        self.strength = scale
        self.is_none = scale == 1.0

    def scale(self, stage, t):
        return self.strength

    def join(self, stage, t, first, second, z, path):
        return second + self.strength * (first - second)


@part("guidance", "in_tensors")
class InTensors(Plain):
    def scale(self, stage, t):
        return torch.tensor(self.strength)


@part("guidance", "infinite")
class Infinite(Plain):
    def scale(self, stage, t):
        return self.strength / (1 - t) if t < 1 else float("inf")


@part("guidance", "fades")
class Fades(Plain):
    """Less at each call of ``scale``."""

    def scale(self, stage, t):
        self.strength = (1 + self.strength) / 2
        return self.strength


@part("guidance", "said_to_be_none")
class SaidToBeNone(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.is_none = True


@part("guidance", "from_zero")
class FromZero(Plain):
    """Imagen's scale less one, by which 0 is none."""

    def join(self, stage, t, first, second, z, path):
        return first + self.strength * (first - second)

    def scale(self, stage, t):
        return self.strength + 1


@part("guidance", "at_a_cost")
class AtACost(Plain):
    def __init__(self, *, scale: Annotated[float, Field(ge=0.0, le=4.0)] = 2.0) -> None:
        self.strength = scale


@part("guidance", "in_secret")
class InSecret(Plain):
    """In an interval that it does not tell."""

    def scale(self, stage, t):
        return 2.0 if 0.2 <= t <= 0.8 else 1.0


@part("guidance", "above_one")
class AboveOne(Plain):
    """In timesteps of DDPM's."""

    thresholds = (200.0, 800.0)


@part("guidance", "in_single_precision")
class InSinglePrecision(Plain):
    def join(self, stage, t, first, second, z, path):
        return super().join(stage, t, first.float(), second.float(), z, path)


@part("guidance", "all_samples_in_one")
class AllSamplesInOne(Plain):
    def join(self, stage, t, first, second, z, path):
        return super().join(stage, t, first, second, z, path).flatten(0, 1)


@part("guidance", "over_the_noise")
class OverTheNoise(Plain):
    """Divides by the noise, of which there is none at last."""

    def join(self, stage, t, first, second, z, path):
        return super().join(stage, t, first, second, z, path) * (t / torch.tensor(path.at(t).sigma))


@part("guidance", "in_place")
class InPlace(Plain):
    def join(self, stage, t, first, second, z, path):
        return first.sub_(second).mul_(self.strength).add_(second)


@part("guidance", "looks_at_values")
class LooksAtValues(Plain):
    def join(self, stage, t, first, second, z, path):
        return first if torch.equal(first, second) else super().join(stage, t, first, second, z, path)


@part("guidance", "made_on_the_cpu")
class MadeOnTheCPU(Plain):
    def join(self, stage, t, first, second, z, path):
        return torch.zeros(first.shape, dtype=first.dtype)


@part("guidance", "by_the_batch")
class ByTheBatch(Plain):
    def join(self, stage, t, first, second, z, path):
        return super().join(stage, t, first, second, z, path) / first.norm()


@part("guidance", "mean_of_the_past")
class MeanOfThePast(Plain):
    """What it keeps is of all samples."""

    kept = 0.0

    def join(self, stage, t, first, second, z, path):
        self.kept = 0.5 * self.kept + (first - second).mean(dim=0)
        return first + (self.strength - 1) * self.kept


@part("guidance", "never_forgets")
class NeverForgets(Plain):
    """Keeps what it remembers in the class."""

    def join(self, stage, t, first, second, z, path):
        before = getattr(NeverForgets, "kept", None)
        own = first - second
        NeverForgets.kept = own if before is None or before.shape != own.shape else own + 0.5 * before
        return first + (self.strength - 1) * NeverForgets.kept


@part("guidance", "forgets_to_say_so")
class ForgetsToSaySo(Plain):
    """Momentum, of which no solver is told."""

    kept = 0.0

    def join(self, stage, t, first, second, z, path):
        self.kept = first - second - 0.5 * self.kept
        return first + (self.strength - 1) * self.kept


@part("guidance", "with_an_idle_option")
class WithAnIdleOption(Plain):
    def __init__(
        self, *, scale: Annotated[float, Field(ge=0.0, le=4.0)] = 2.0, momentum: Annotated[float, Field(le=0.0)] = -0.5
    ) -> None:
        super().__init__(scale=scale)


JOINS = guidance_laws.joins_as_it_is_given
BROKEN: list[Broken] = [
    (guidance_laws.scale_is_a_number, InTensors, r"at noise level 0 is a Tensor, and should be a float"),
    (guidance_laws.scale_is_a_number, Infinite, r"the scale of stage 0 at noise level 1 is inf"),
    (guidance_laws.scale_is_a_number, Fades, r"the scale hangs on what was asked before"),
    (guidance_laws.scale_is_a_number, SaidToBeNone, r"is_none, and a scale is not 1"),
    (guidance_laws.scale_of_one_is_none, FromZero, r"a scale of 1 changes the velocity"),
    (guidance_laws.scale_of_one_is_none, AtACost, r"a scale of 1 is not is_none, and asks for a second prediction"),
    (guidance_laws.tells_its_thresholds, InSecret, r"between noise levels 0.195 and 0.2, and has no threshold there"),
    (guidance_laws.tells_its_thresholds, AboveOne, r"thresholds \(200.0, 800.0\) are no noise levels"),
    (JOINS, InSinglePrecision, r"returns torch.float32 for torch.float64"),
    (JOINS, AllSamplesInOne, r"returns shape \[.*\] for \[3, .*\]"),
    (JOINS, OverTheNoise, r"a velocity is not finite"),
    (JOINS, InPlace, r"changes its inputs"),
    (guidance_laws.joins_on_any_device, LooksAtValues, r"fails: "),
    (guidance_laws.joins_on_any_device, MadeOnTheCPU, r"leaves the device of z"),
    (guidance_laws.guides_each_alone, ByTheBatch, r"a sample depends on the rest of its batch"),
    (guidance_laws.guides_each_alone, MeanOfThePast, r"a sample depends on the rest of its batch"),
    (guidance_laws.remembers_its_batch_alone, NeverForgets, r"what is joined hangs on an earlier batch"),
    (guidance_laws.says_that_it_remembers, ForgetsToSaySo, r"hangs on what came before, and it does not say remembers"),
    (guidance_laws.every_option_guides_otherwise, WithAnIdleOption, r"whatever momentum is, scales, thresholds and"),
]
