"""The learning rate at its corners, and averages that are what the formula says, in float32."""

import math

import pytest
import torch
from torch import nn

from tests.train.small import small, train
from zoo.errors import Preempted, ZooError
from zoo.optim import Schedule
from zoo.optim.schedules import ConstantSchedule, CosineSchedule, WSDSchedule
from zoo.recipe.options import TrainOptions
from zoo.registry import Registry, part
from zoo.runs.optimizer import EMA, ema_decays, held_rules, learning_rate
from zoo.scaffold.parts.schedule import MineSchedule

CONSTANT, COSINE = ConstantSchedule(), CosineSchedule()


def rates(steps, schedule=CONSTANT, **options):
    given = TrainOptions(steps=steps, learning_rate=0.5, **options)
    return [learning_rate(step, schedule, given) for step in range(steps)]


def test_the_rate_rises_in_equal_parts_and_stays():
    assert rates(8, warmup=4) == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert rates(3) == [0.5, 0.5, 0.5]


def test_the_rate_falls_along_half_a_cosine_to_zero():
    assert rates(6, warmup=2, schedule=COSINE) == pytest.approx(
        [0.25, 0.5, 0.5, 0.25 * (1 + math.sqrt(0.5)), 0.25, 0.25 * (1 - math.sqrt(0.5))]
    )
    options = TrainOptions(steps=6, learning_rate=0.5, warmup=2)
    assert learning_rate(6, COSINE, options) == 0.0  # where the next update would be
    assert learning_rate(99, COSINE, options) == 0.0  # and never rises again


def test_wsd_stays_and_falls_at_last_as_its_papers_say():
    assert rates(8, warmup=2, schedule=WSDSchedule(decay=0.5, shape="linear")) == pytest.approx(
        [0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5 * 2 / 3, 0.5 / 3]
    )
    root = WSDSchedule(decay=0.25, shape="sqrt")
    assert [root.factor(step, 16) for step in range(11, 18)] == pytest.approx(
        [1, 1, 0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75), 0, 0]
    )
    assert [WSDSchedule(decay=0.25).factor(step, 16) for step in range(13)] == [1.0] * 13


def test_wsd_falls_over_all_of_the_steps_where_asked():
    assert rates(4, schedule=WSDSchedule(decay=1.0, shape="linear")) == pytest.approx([0.5, 0.375, 0.25, 0.125])


@pytest.mark.parametrize(
    ("schedule", "done", "to", "may"),
    [
        ("constant", 100, 200, True),
        ("mine", 100, 200, True),  # which falls for ever
        ("wsd", 83, 200, True),  # 10 of warm-up, and the first 0.8 of the rest, where the fall begins at 1
        ("wsd", 84, 200, False),
        ("cosine", 11, 200, True),
        ("cosine", 12, 200, False),
        ("constant", 100, 11, True),
        ("cosine", 12, 11, False),  # the last update done would have had a rate of 0
        ("wsd", 13, 12, False),
    ],
)
def test_a_run_may_have_other_steps_as_long_as_its_updates_keep_their_rates(schedule, done, to, may):
    registry = Registry().with_parts([MineSchedule])
    before, after = (
        small(f"train.schedule={schedule}", "train.warmup=10", f"train.steps={steps}", registry=registry)
        for steps in (100, to)
    )
    assert held_rules(before, after, done) == ["train.steps"] * may


@part("schedule", "table")
class Table(Schedule):
    """Rates that are looked up."""

    def __init__(self, *, known: float = 1.0) -> None:
        self.known = known

    def factor(self, step: int, steps: int) -> float:
        return ([1.0] * int(self.known * steps))[step]


def test_a_schedule_that_knows_no_rate_beyond_its_end_keeps_none_there():
    registry = Registry().with_parts([Table])
    fewer, own, more = (small("train.schedule=table", f"train.steps={steps}", registry=registry) for steps in (2, 5, 9))
    assert held_rules(own, more, 5) == held_rules(own, fewer, 2) == ["train.steps"]
    assert held_rules(own, fewer, 3) == []
    broken = small("train.schedule={type: table, known: 0.5}", "train.steps=4", registry=registry)
    with pytest.raises(IndexError):  # before its end it is a fault
        held_rules(own, broken, 3)


def test_a_run_is_made_longer_before_it_falls_and_not_after(tmp_path):
    wsd, no = "train.schedule={type: wsd, decay: 0.5}", "train.callbacks=[]"
    with pytest.raises(Preempted):
        train(tmp_path, wsd, no, "train.steps=2", stop_at=1)
    train(tmp_path, wsd, no, "train.steps=3", resume=True)
    refusal = "by another recipe .*: train.steps: 3 and 6; train.steps may change where the updates done keep their"
    with pytest.raises(ZooError, match=refusal):
        train(tmp_path, wsd, no, "train.steps=6", resume=True)
    with pytest.raises(ZooError, match=refusal.replace("6", "1")):  # fewer than are done
        train(tmp_path, wsd, no, "train.steps=1", resume=True)


def test_the_rate_of_a_run_that_is_all_warm_up():
    assert rates(3, warmup=3, schedule=COSINE) == pytest.approx([0.5 / 3, 1 / 3, 0.5])
    assert rates(2, warmup=4, schedule=COSINE) == [0.125, 0.25]


def test_the_rate_is_never_negative_nor_above_the_highest():
    for warmup in (0, 1, 5, 50):
        for schedule in (CONSTANT, COSINE, WSDSchedule()):
            found = rates(40, warmup=warmup, schedule=schedule)
            assert all(0 < rate <= 0.5 for rate in found)


def test_the_decay_starts_low_and_ends_where_asked():
    options = TrainOptions(ema=0.9999)
    assert [ema_decays(step, options) for step in (0, 1, 8)] == [[1 / 10], [2 / 11], [9 / 18]]
    assert ema_decays(400, options) == [401 / 410]  # not yet 0.9999, of which 400 steps would keep 96 % of the start
    assert ema_decays(10**6, options) == [0.9999]
    assert ema_decays(3, TrainOptions(ema=0.0)) == [0.0]
    decays = [ema_decays(step, TrainOptions(ema=0.99))[0] for step in range(2000)]
    assert decays == sorted(decays)
    assert max(decays) == 0.99


def test_the_decay_without_a_ramp_is_the_same_from_the_first_update():
    options = TrainOptions(ema=0.9999, ema_ramp=False)
    assert [ema_decays(step, options) for step in (0, 1, 8, 10**6)] == [[0.9999]] * 4


def test_each_of_several_averages_has_a_decay_of_its_own():
    options = TrainOptions(ema=(0.15, 0.9999, 0.0))
    assert [ema_decays(step, options) for step in (0, 1)] == [[1 / 10, 1 / 10, 0.0], [0.15, 2 / 11, 0.0]]


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in (("a", (3, 4)), ("b", ()))}


def test_the_average_starts_as_a_copy():
    values = parameters()
    ema = EMA(values)
    before = {name: value.clone() for name, value in values.items()}
    for value in values.values():
        value.add_(1)
    assert all(torch.equal(ema.averages[name], before[name]) for name in values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("decay", [0.0, 0.1, 0.5, 0.9999])
def test_the_average_is_the_formula_in_a_plain_loop(dtype, decay):
    values = parameters(dtype)
    ema = EMA(values)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = {name: value.double().clone() for name, value in values.items()}
    for _ in range(20):
        for name, value in values.items():
            value.mul_(0.9).add_(0.125)
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
        ema.update(values, decay)
    for name in values:
        assert ema.averages[name].dtype == wide
        torch.testing.assert_close(ema.averages[name].double(), expected[name], rtol=1e-5, atol=1e-6)


def test_small_changes_of_bfloat16_weights_are_not_lost():
    """An average in bfloat16, whose steps near 1 are 1/128, would stay where it is for ever."""
    values = {"a": torch.ones(1, dtype=torch.bfloat16)}
    ema = EMA(values)
    values["a"].fill_(1.25)
    ema.update(values, 0.999)
    assert 1 < ema.averages["a"].item() < 1.001
    stuck = torch.ones(1, dtype=torch.bfloat16).lerp_(values["a"], 0.001)
    assert stuck.item() == 1


def test_the_average_takes_no_gradient_and_changes_no_parameter():
    values = {"a": nn.Parameter(torch.ones(3))}
    ema = EMA(values)
    ema.update(values, 0.5)
    assert not ema.averages["a"].requires_grad
    assert torch.equal(values["a"], torch.ones(3))
