"""Schedules that break a law."""

import torch

from tests.testing.broken import Broken
from zoo.optim.schedules import ConstantSchedule, CosineSchedule
from zoo.registry import part
from zoo.testing import optim_laws


@part("schedule", "below_zero")
class BelowZero(ConstantSchedule):
    def factor(self, step, steps):
        return 1.0 - step / steps


@part("schedule", "by_one_less")
class ByOneLess(ConstantSchedule):
    """Divides by zero where there is one step."""

    def factor(self, step, steps):
        return 1.0 - min(step / (steps - 1), 1.0) if step else 1.0


@part("schedule", "in_tensors")
class InTensors(CosineSchedule):
    def factor(self, step, steps):
        return torch.tensor(super().factor(step, steps))


@part("schedule", "asleep")
class Asleep(ConstantSchedule):
    def factor(self, step, steps):
        return float(step >= steps)


@part("schedule", "infinite")
class Infinite(ConstantSchedule):
    def factor(self, step, steps):
        return float("inf") if step == 1 else 1.0


@part("schedule", "counts_by_itself")
class CountsByItself(ConstantSchedule):
    def __init__(self):
        self.asked = 0

    def factor(self, step, steps):
        self.asked += 1
        return 1.0 / self.asked


NUMBERS = optim_laws.factors_are_numbers
BROKEN: list[Broken] = [
    (NUMBERS, BelowZero, r"the factor of step 2 of 1 is -1.0, which is negative"),
    (NUMBERS, ByOneLess, r"fails: ZeroDivisionError"),
    (NUMBERS, InTensors, r"the factor of step 0 of 1 is a Tensor, and should be a float"),
    (NUMBERS, Asleep, r"the factor of all 1 steps is 0: nothing is trained"),
    (NUMBERS, Infinite, r"the factor of step 1 of 1 is inf"),
    (optim_laws.factor_hangs_on_its_step_alone, CountsByItself, "hangs on what was asked before"),
]
