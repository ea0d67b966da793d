"""Optimizers and schedules that break a law."""

import math

import torch
from torch.distributed.tensor import DTensor

from tests.testing.broken import Broken
from zoo.optim import Optimizer
from zoo.optim.adamw import AdamW
from zoo.optim.schedules import ConstantSchedule, CosineSchedule
from zoo.registry import part
from zoo.testing import optim_laws


class Descent(torch.optim.Optimizer):
    """Down the gradient."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                self.update(weight, group["lr"])

    def update(self, weight, lr):
        weight.sub_(weight.grad, alpha=lr)


class Descending(Optimizer):
    Stepper = Descent

    def build(self, weights, learning_rate):
        return self.Stepper([each.parameter for each in weights], learning_rate)


@part("optimizer", "some_alone")
class SomeAlone(AdamW):
    def build(self, weights, learning_rate):
        return super().build([each for each in weights if each.role == "matrix"], learning_rate)


@part("optimizer", "none_at_all")
class NoneAtAll(AdamW):
    def build(self, weights, learning_rate):
        super().build(weights, learning_rate)


@part("optimizer", "still")
class Still(Descending):
    class Stepper(Descent):
        def update(self, weight, lr):
            if weight.ndim > 1:
                super().update(weight, lr)


@part("optimizer", "explosive")
class Explosive(Descending):
    class Stepper(Descent):
        def update(self, weight, lr):
            weight.div_(weight.grad * 0)


@part("optimizer", "with_its_own_rate")
class WithItsOwnRate(Descending):
    class Stepper(Descent):
        def update(self, weight, lr):
            super().update(weight, 0.01)


@part("optimizer", "decay_beside_the_rate")
class DecayBesideTheRate(Descending):
    class Stepper(Descent):
        def update(self, weight, lr):
            super().update(weight.mul_(0.99), lr)


@part("optimizer", "counting_in_an_attribute")
class CountingInAnAttribute(Descending):
    class Stepper(Descent):
        count = 0

        def update(self, weight, lr):
            self.count += 1
            super().update(weight, lr / self.count)


@part("optimizer", "every_tenth_update")
class EveryTenthUpdate(Descending):
    """Takes a longer step every ten updates, which it counts in an attribute."""

    class Stepper(Descent):
        count = 0

        def step(self, closure=None):
            super().step(closure)
            self.count += 1

        def update(self, weight, lr):
            super().update(weight, 2 * lr if self.count % 10 == 9 else lr)


@part("optimizer", "keeping_a_set")
class KeepingASet(Descending):
    class Stepper(Descent):
        def update(self, weight, lr):
            self.state[weight].setdefault("rates", set()).add(lr)
            super().update(weight, lr)


@part("optimizer", "local_rows")
class LocalRows(Descending):
    """Divides by the norm of the rows that are here."""

    class Stepper(Descent):
        def update(self, weight, lr):
            here = weight.grad.to_local() if isinstance(weight.grad, DTensor) else weight.grad
            super().update(weight, lr / (1.0 + float(here.norm())))


@part("optimizer", "not_by_itself")
class NotByItself(Descending):
    """Says that each number moves by its own gradients, and divides by the norm of all."""

    elementwise = True

    class Stepper(Descent):
        def update(self, weight, lr):
            super().update(weight, lr / (1.0 + float(weight.grad.norm())))


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


@part("schedule", "asleep_for_a_thousand")
class AsleepForAThousand(ConstantSchedule):
    """Divides whole numbers, and learns in a long training alone."""

    def factor(self, step, steps):
        return float(min(1, step // 1000))


@part("schedule", "infinite")
class Infinite(ConstantSchedule):
    def factor(self, step, steps):
        return float("inf") if step == 1 else 1.0


@part("schedule", "of_short_trainings")
class OfShortTrainings(ConstantSchedule):
    def factor(self, step, steps):
        return 1.0 if step < 2000 else float("nan")


@part("schedule", "without_its_first_step")
class WithoutItsFirstStep(ConstantSchedule):
    """Whose ValueError is no refusal: it is of one step alone."""

    def factor(self, step, steps):
        return 1.0 - 0.1 * math.log(step / steps)


@part("schedule", "refusing_all")
class RefusingAll(ConstantSchedule):
    def factor(self, step, steps):
        return math.log(-1.0)


@part("schedule", "counts_by_itself")
class CountsByItself(ConstantSchedule):
    def __init__(self):
        self.asked = 0

    def factor(self, step, steps):
        self.asked += 1
        return 1.0 / self.asked


@part("optimizer", "climbing")
class Climbing(Descending):
    class Stepper(Descent):
        def update(self, weight, lr):
            super().update(weight, -lr)


MOVES, STATE = optim_laws.moves_every_weight, optim_laws.goes_on_from_its_state
NUMBERS = optim_laws.factors_are_numbers
BROKEN: list[Broken] = [
    (MOVES, SomeAlone, r"optimizer SomeAlone: has table, embedding.weight, .* in no group"),
    (MOVES, NoneAtAll, r"optimizer NoneAtAll: builds NoneType in place of a torch.optim.Optimizer"),
    (MOVES, Still, r"blocks.0.0.weight is as it was after 3 updates"),
    (MOVES, Explosive, r"table is not finite after 3 updates"),
    (optim_laws.follows_the_rate, WithItsOwnRate, "at a learning rate of 0 it moves table"),
    (optim_laws.follows_the_rate, DecayBesideTheRate, "at a learning rate of 0 it moves table"),
    (STATE, CountingInAnAttribute, "built anew from its state, it moves table otherwise"),
    (STATE, EveryTenthUpdate, "built anew from its state, it moves table otherwise"),
    (STATE, KeepingASet, "table/rates: is of type set, which no checkpoint holds"),
    (optim_laws.updates_shards_as_one, LocalRows, "sharded, table moves otherwise"),
    (optim_laws.updates_shards_as_one, NotByItself, "sharded, table moves otherwise"),
    (NUMBERS, BelowZero, r"the factor of step 2 of 1 is -1.0, which is negative"),
    (NUMBERS, ByOneLess, r"fails: ZeroDivisionError"),
    (NUMBERS, InTensors, r"the factor of step 0 of 1 is a Tensor, and should be a float"),
    (NUMBERS, Asleep, r"the factor of all 7 steps is 0: nothing is trained"),
    (NUMBERS, AsleepForAThousand, r"the factor of all 7 steps is 0: nothing is trained"),
    (NUMBERS, OfShortTrainings, r"the factor of step \d+ of 1000000 is nan"),
    (NUMBERS, WithoutItsFirstStep, r"fails: ValueError"),
    (NUMBERS, RefusingAll, r"fails: ValueError"),
    (NUMBERS, Infinite, r"the factor of step 1 of 1 is inf"),
    (optim_laws.factor_hangs_on_its_step_alone, CountsByItself, "hangs on what was asked before"),
    (optim_laws.goes_downhill, Climbing, "goes uphill: a loss of .* becomes"),
]
