"""The learning rate of every update, and the averaged weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from zoo.assembly import create_part
from zoo.optim import Schedule
from zoo.recipe import Recipe
from zoo.recipe.averages import Average, Profile
from zoo.recipe.fingerprint import FREE, is_below
from zoo.recipe.options import TrainOptions
from zoo.runs.profiles import decay as profile_decay
from zoo.shards import local


def learning_rate(step: int, schedule: Schedule, options: TrainOptions) -> float:
    """The learning rate of update ``step``, counted from 0.

    It rises in equal parts over ``warmup`` updates, and then follows the schedule.
    """
    if step < options.warmup:
        return options.learning_rate * (step + 1) / options.warmup
    return options.learning_rate * schedule.factor(step - options.warmup, max(1, options.steps - options.warmup))


def held_rules(before: Recipe, after: Recipe, done: int, asked: Collection[str] = ()) -> list[str]:
    """The keys of a recipe that a run may go on with by their rule, after so many updates.

    Args:
        before: what it was trained by.
        after: what it is to go on with.
        done: updates.
        asked: keys that are another on purpose.
    """
    held = [free.key for free in FREE if free.rule and any(is_below(each, free.key) for each in asked)]
    if "train.ema" in held and not _may_follow(before.train.averages, after.train.averages):
        held.remove("train.ema")
    return held if "train.steps" in held or not _keeps_rates(before, after, done) else [*held, "train.steps"]


def _may_follow(before: Sequence[Average], after: Sequence[Average]) -> bool:
    """Whether averages may go on as others: the first by another decay, since files of the rest are named by theirs."""
    return before[1:] == after[1:] and not any(isinstance(each, Profile) for each in (before[0], after[0]))


def _keeps_rates(before: Recipe, after: Recipe, done: int) -> bool:
    """Whether the updates done would have had the same learning rates by the steps that are asked for."""
    schedule: Schedule = create_part(after, "schedule")
    options = after.train
    former = options.model_copy(update={"steps": before.train.steps})
    trained = range(done if former.steps != options.steps else 0)
    try:
        kept = all(learning_rate(step, schedule, former) == learning_rate(step, schedule, options) for step in trained)
    except Exception:
        if done <= options.steps:
            raise
        return False  # beyond its end a schedule need know no rate, such as one that looks them up
    return kept


def ema_decays(step: int, options: TrainOptions, *, skipped: bool = False) -> list[float]:
    """The decay of each of the averages after update ``step``, counted from 0.

    With ``ema_ramp`` it is low at first, or short runs would average the initialisation. Without, it is ``ema``
    throughout, as in the published training scripts of DiT, SiT, PPFlow and MPDiT. Averages by profile go by the step
    alone; they count one that was ``skipped`` too, which leaves others as they are, by a decay of 1.
    """
    highest = (1 + step) / (10 + step) if options.ema_ramp else 1.0
    return [
        profile_decay(each.std, step + 1) if isinstance(each, Profile) else 1.0 if skipped else min(each, highest)
        for each in options.averages
    ]


class EMA:
    """Exponential moving average of a module's trainable parameters, kept in float32 or wider.

    Args:
        parameters: by name; the average starts as a copy of them.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.averages = {
            name: parameter.detach().to(torch.promote_types(parameter.dtype, torch.float32), copy=True)
            for name, parameter in parameters.items()
        }

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        """``average = decay * average + (1 - decay) * parameter``, for all of them in a few kernels."""
        averages = [local(each) for each in self.averages.values()]
        given = [local(parameters[name]) for name in self.averages]
        pairs = zip(averages, given, strict=True)
        current = [each if each.dtype == average.dtype else each.to(average.dtype) for average, each in pairs]
        get_ema_multi_avg_fn(decay)(averages, current, torch.tensor(0))  # type: ignore[no-untyped-call]
