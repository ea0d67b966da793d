"""Laws of schedules of the learning rate."""

from __future__ import annotations

import math

from zoo.testing.cases import Case
from zoo.testing.law import Law, law

STEPS = (1, 2, 7, 1000)

# -- schedules --------------------------------------------------------------------------------------------------------


@law("Clamp what factor() computes to 0 and above, for one step of one too, and return a float, not a tensor.")
def factors_are_numbers(case: Case) -> None:
    """A factor is a finite float and not negative, at every step and after the last; not all are zero."""
    schedule = case.create()
    for steps in STEPS:
        factors = [schedule.factor(step, steps) for step in range(steps + 2)]
        for step, factor in enumerate(factors):
            what = f"the factor of step {step} of {steps}"
            assert isinstance(factor, float), f"{what} is a {type(factor).__name__}, and should be a float"
            assert math.isfinite(factor), f"{what} is {factor}"
            assert factor >= 0, f"{what} is {factor}, which is negative"
        assert any(factors[:steps]), f"the factor of all {steps} steps is 0: nothing is trained"


@law("Compute factor() from its arguments and the options alone: a run that goes on asks a new object, from any step.")
def factor_hangs_on_its_step_alone(case: Case) -> None:
    """A factor is the same whatever was asked before."""
    steps = 7
    schedule = case.create()
    in_order = [schedule.factor(step, steps) for step in range(steps)]
    backwards = [schedule.factor(step, steps) for step in reversed(range(steps))][::-1]
    alone = [case.create().factor(step, steps) for step in range(steps)]
    assert in_order == backwards == alone, "the factor of a step hangs on what was asked before"


LAWS: dict[str, tuple[Law[Case], ...]] = {"schedule": (factors_are_numbers, factor_hangs_on_its_step_alone)}
"""Laws of each kind."""
