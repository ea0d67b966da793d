"""Laws of optimizers, and of schedules of the learning rate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import takewhile

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from zoo.optim.base import Schedule
from zoo.optim.state import begun_state, flat, groups_of, nested, packed, state_of, take, unpacked
from zoo.optim.updates import Updates
from zoo.shards import whole
from zoo.testing.asserts import assert_close, refuses
from zoo.testing.cases import FEW, Case
from zoo.testing.law import Law, NotRun, law
from zoo.testing.options_laws import every_option_changes_something
from zoo.testing.ranks import RANKS, on_two_ranks

STEPS, LONGEST, ASKED = (1, 2, 7, 1000, 10**6), 10**9, 1000
"""Lengths of a training, one for schedules that refuse all these, and how many factors of each are asked for."""

FEWEST = 7
"""Steps of a training, from which on a schedule lets some learn."""

RATE, UPDATES, LATER = 0.01, 3, 12
"""Learning rate, updates, and updates after a restart: every tenth of an optimizer may do what the others do not."""

ROUNDED = 0.1
"""Of how far a weight moves, what rounding may change: Muon takes its steps of Newton-Schulz in bfloat16."""

# -- optimizers -------------------------------------------------------------------------------------------------------


class Trained(nn.Module):
    """Weights of every role, in blocks and outside."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding, self.table = nn.Embedding(5, 4), nn.Parameter(torch.empty(3, 4))
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 6), nn.Linear(6, 4)) for _ in range(2))
        self.head = nn.Conv2d(4, 2, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)

    def gradients(self, step: int) -> None:
        """Those of a step: the same for the same step, of shards the process's share."""
        for index, parameter in enumerate(self.parameters()):
            generator = torch.Generator().manual_seed(1000 * step + index)
            gradient = torch.randn(parameter.shape, generator=generator)
            if isinstance(parameter, DTensor):
                mesh = parameter.device_mesh
                gradient = distribute_tensor(gradient, mesh, parameter.placements, src_data_rank=None)
            parameter.grad = gradient


def _updated(case: Case, model: Trained, steps: Iterable[int], updates: Updates | None = None) -> Updates:
    updates = updates or Updates(case.create(), model, model.blocks, RATE)
    for step in steps:
        model.gradients(step)
        updates.step(RATE)
    updates.zero_grad()
    return updates


def _values(model: Trained) -> dict[str, Tensor]:
    return {name: whole(each.detach()).clone() for name, each in model.named_parameters()}


@law("Put every weight that build() is given into one group of one optimizer, and let it learn from its gradient.")
def moves_every_weight(case: Case) -> None:
    """After some updates every weight is another than it was, and finite."""
    model = Trained(case.seed)
    before = _values(model)
    _updated(case, model, range(UPDATES))
    for name, value in _values(model).items():
        assert value.isfinite().all(), f"{name} is not finite after {UPDATES} updates"
        assert not torch.equal(value, before[name]), f"{name} is as it was after {UPDATES} updates"


@law("Subtract what goes along the gradient: p.grad points uphill, and maximize=True climbs.")
def goes_downhill(case: Case) -> None:
    """Where the gradient of each weight is the weight itself, weights as a whole become smaller."""
    model = Trained(case.seed)
    updates = Updates(case.create(), model, model.blocks, RATE)
    before = sum(float(each.square().sum()) for each in _values(model).values())
    for _ in range(UPDATES):
        for parameter in model.parameters():
            parameter.grad = parameter.detach().clone()
        updates.step(RATE)
    after = sum(float(each.square().sum()) for each in _values(model).values())
    assert after < before, f"goes uphill: a loss of {before:.4g} becomes {after:.4g}"


@law("Multiply all that moves a weight by its group's lr, weight decay too: warm-up and schedule work by nothing else.")
def follows_the_rate(case: Case) -> None:
    """Where the learning rate is 0, no weight moves."""
    model = Trained(case.seed)
    updates = _updated(case, model, range(1))
    before = _values(model)
    model.gradients(1)
    updates.step(0.0)
    moved = [name for name, value in _values(model).items() if not torch.equal(value, before[name])]
    assert not moved, f"at a learning rate of 0 it moves {moved[0]}"


@law(
    "Keep all that decides about the next update in self.state of a weight or in its group, as tensors, numbers, texts,"
    " and lists, tuples and mappings of these; nothing in attributes of the optimizer.",
    examples=FEW,
)
def goes_on_from_its_state(case: Case) -> None:
    """Built anew, with the state that was saved, it goes on bit by bit."""
    model, other = Trained(case.seed), Trained(case.seed + 1)
    updates = _updated(case, model, range(UPDATES))
    tensors, others = flat(state_of(updates))
    saved = {name: each.clone() for name, each in tensors.items()}
    plain = json.loads(json.dumps([others, packed(groups_of(updates), "groups", {})]))
    again = Updates(case.create(), other, other.blocks, RATE)
    if state_of(updates):
        begun_state(again)
    take(again, nested(saved, plain[0]), unpacked(plain[1], {}))
    other.load_state_dict(model.state_dict())
    later = range(UPDATES, UPDATES + LATER)
    _updated(case, model, later, updates)
    _updated(case, other, later, again)
    expected = _values(model)
    for name, value in _values(other).items():
        assert torch.equal(value, expected[name]), f"built anew from its state, it moves {name} otherwise"


@law(
    "Compute on weights and gradients as they come, which under FSDP are DTensors, and keep state with zeros_like():"
    " to_local() has a share of the rows alone, and zoo.shards.whole() all of them; or say shards = False.",
    examples=FEW,
)
def updates_shards_as_one(case: Case) -> None:
    """Weights that FSDP shares out among two ranks move as whole ones do, within what rounding inside may do."""
    if not case.create().shards:
        raise NotRun("it says shards = False")
    alone = Trained(case.seed)
    before = _values(alone)
    _updated(case, alone, range(UPDATES))
    expected = _values(alone)

    def compare(rank: int) -> None:
        model = Trained(case.seed)
        mesh = init_device_mesh("cpu", (RANKS,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        _updated(case, model, range(UPDATES))
        for name, value in _values(model).items():
            moved = float((expected[name] - before[name]).abs().max())
            assert_close(value, expected[name], f"sharded, {name} moves otherwise", max(1e-4, ROUNDED * moved))

    on_two_ranks(compare)


# -- schedules --------------------------------------------------------------------------------------------------------


@law(
    "Clamp what factor() computes to 0 and above, for one step of one too, or refuse so few by a ValueError at every"
    " step, and return a float, not a tensor."
)
def factors_are_numbers(case: Case) -> None:
    """A factor is a finite float and not negative, at every step and beyond; of seven and more, not all are 0."""
    schedule = case.create()
    for steps in lengths(schedule):
        factors = {step: schedule.factor(step, steps) for step in _steps(steps)}
        for step, factor in factors.items():
            what = f"the factor of step {step} of {steps}"
            assert isinstance(factor, float | int), f"{what} is a {type(factor).__name__}, and should be a float"
            assert math.isfinite(factor), f"{what} is {factor}"
            assert factor >= 0, f"{what} is {factor}, which is negative"
        learns = any(factor for step, factor in factors.items() if step < steps)
        assert learns or steps < FEWEST, f"the factor of all {steps} steps is 0: nothing is trained"


@law("Compute factor() from its arguments and the options alone: a run that goes on asks a new object, from any step.")
def factor_hangs_on_its_step_alone(case: Case) -> None:
    """A factor is the same whatever was asked before."""
    schedule = case.create()
    steps = next(each for each in lengths(schedule) if each >= FEWEST)
    asked = range(0, steps, 1 + steps // 50)
    in_order = [schedule.factor(step, steps) for step in asked]
    backwards = [schedule.factor(step, steps) for step in reversed(asked)][::-1]
    alone = [case.create().factor(step, steps) for step in asked]
    assert in_order == backwards == alone, "the factor of a step hangs on what was asked before"


def lengths(schedule: Schedule) -> tuple[int, ...]:
    """The numbers of steps to ask a schedule for; those left out that it refuses, at each of their steps."""
    refused = list(takewhile(lambda steps: all(refuses(schedule.factor, step, steps) for step in _steps(steps)), STEPS))
    return STEPS[len(refused) :] or (LONGEST,)


def _steps(steps: int) -> list[int]:
    """Some of the steps of a training, the first and the last of them, and two beyond."""
    return [*range(0, steps, 1 + steps // ASKED), steps - 1, steps, steps + 1]


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "optimizer": (moves_every_weight, goes_downhill, follows_the_rate, goes_on_from_its_state, updates_shards_as_one),
    "schedule": (factors_are_numbers, factor_hangs_on_its_step_alone, every_option_changes_something),
}
