"""Stratified noise levels: unbiased, never more spread than plain ones, and where the backbone sees their stage."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from zoo.backbone import Backbone
from zoo.flow import NoiseSampler, plan_stages
from zoo.flow.noise_samplers import LogitNormalNoise, UniformNoise
from zoo.schedule import Level, Stage, resolved

SAMPLERS = {"uniform": UniformNoise(), "logit_normal": LogitNormalNoise(mean=-0.4, std=1.2)}


def stages(*thresholds):
    levels = (Level(patch=2, blocks=1),)
    return resolved([Stage(noise_above=low, levels=levels) for low in (*thresholds, 0.0)], axes=2, dim=8, heads=1)


def losses(t):
    """A loss that rises with t, bends, and jumps where stages may change."""
    return 1 + torch.sin(7 * t) + 3 * t.square() + 2 * (t > 0.5)


@pytest.mark.parametrize("thresholds", [(), (0.5,), (0.93,), (0.75, 0.3), (0.9, 0.05)], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_the_loss_is_unbiased_and_spreads_less(sampler, thresholds):
    plan = plan_stages(stages(*thresholds), "cleaner", sampler)
    batch, repeats = 64, 1500
    generator = torch.Generator().manual_seed(0)
    grid = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    expected = losses(sampler.quantile(grid)).mean()
    u = torch.rand(repeats, batch, generator=generator, dtype=torch.float64)
    plain = losses(sampler.quantile(u)).mean(dim=1)
    index = torch.arange(batch).repeat(repeats)
    t, weight = plan.noise_levels(index, batch, u.flatten(), torch.float64)
    stratified = (weight * losses(t)).reshape(repeats, batch).mean(dim=1)
    assert abs(stratified.mean() - expected) < 4 * stratified.std() / repeats**0.5 + 1e-5  # that of the grid
    assert stratified.var() < plain.var()


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_without_weights_it_would_be_biased(sampler):
    """The test above can tell."""
    plan = plan_stages(stages(0.93), "cleaner", sampler, group=4)
    u = torch.rand(1500, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = losses(plan.noise_levels(torch.arange(64).repeat(1500), 64, u.flatten())[0]).reshape(1500, 64).mean(dim=1)
    grid = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    assert abs(means.mean() - losses(sampler.quantile(grid)).mean()) > 0.1


@pytest.mark.parametrize("thresholds", [(0.5,), (0.75, 0.3), (0.9, 0.05)], ids=str)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_rank_holds_as_many_samples_of_each_stage(thresholds, ranks):
    plan = plan_stages(stages(*thresholds), "cleaner", UniformNoise())
    batch = plan.group * 8
    share = batch // ranks
    for rank in range(ranks):
        stage = plan.stage_of(torch.arange(rank * share, (rank + 1) * share))
        counts = torch.bincount(stage, minlength=len(plan.counts)).tolist()
        assert counts == [count * share // plan.group for count in plan.counts]


def test_noise_levels_do_not_depend_on_who_asks():
    plan = plan_stages(stages(0.75, 0.3), "cleaner", LogitNormalNoise())
    batch = plan.group * 4
    u = torch.rand(batch, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, weight = plan.noise_levels(torch.arange(batch), batch, u)
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(1))[:5]
    some = plan.noise_levels(order, batch, u[order])
    assert torch.equal(some[0], t[order])
    assert torch.equal(some[1], weight[order])


def test_each_part_of_a_stage_gets_one_sample():
    plan = plan_stages(stages(0.75), "cleaner", UniformNoise(), group=4)
    assert plan.counts == (1, 3)
    t, weight = plan.noise_levels(torch.arange(8), 8, torch.full((8,), 0.5, dtype=torch.float64), torch.float64)
    assert plan.stage_of(torch.arange(8)).tolist() == [0, 1, 1, 1, 0, 1, 1, 1]
    assert t.tolist() == pytest.approx([0.8125, 0.0625, 0.1875, 0.3125, 0.9375, 0.4375, 0.5625, 0.6875])
    assert weight.tolist() == [1.0] * 8


ENDS = st.sampled_from([0.0, 1 - 2.0**-53])


@given(
    thresholds=st.lists(st.floats(0.01, 0.99), unique=True, max_size=3),
    ties=st.sampled_from(["cleaner", "noisier"]),
    sampler=st.sampled_from(list(SAMPLERS.values())),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    ends=ENDS,
)
def test_the_backbone_sees_the_stage_that_was_planned(thresholds, ties, sampler, dtype, ends):
    schedule = stages(*sorted(thresholds, reverse=True))
    try:
        plan = plan_stages(schedule, ties, sampler)
        batch = plan.group * 4
        index = torch.arange(batch)
        inside = torch.rand(batch, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        drawn = [plan.noise_levels(index, batch, u, dtype)[0] for u in (torch.full_like(inside, ends), inside)]
    except ValueError:  # two thresholds are one number in this dtype
        assume(False)
    for t in drawn:
        assert t.dtype == dtype
        assert ((t >= 0) & (t <= 1)).all()
        seen = Backbone.stage_of(SimpleNamespace(stages=schedule, ties=ties), t)
        assert torch.equal(seen, plan.stage_of(index))


def test_both_ends_are_reached():
    for ties in ("cleaner", "noisier"):
        plan = plan_stages(stages(0.5), ties, UniformNoise())
        t, _ = plan.noise_levels(torch.arange(2), 2, torch.tensor([1 - 2.0**-53, 0.0], dtype=torch.float64))
        assert t.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("thresholds", "counts", "weights"),
    [
        ((), (1,), (1.0,)),
        ((0.5,), (1, 1), (1.0, 1.0)),
        ((0.75,), (1, 3), (1.0, 1.0)),
        ((0.9,), (1, 7), (0.8, 0.9 * 8 / 7)),
        ((0.75, 0.5), (1, 1, 2), (1.0, 1.0, 1.0)),
        ((2 / 3, 1 / 3), (6, 5, 5), (16 / 18, 16 / 15, 16 / 15)),  # of equal shares, the noisiest takes what is left
        ((0.999,), (1, 63), (0.064, 0.999 * 64 / 63)),
    ],
    ids=str,
)
def test_the_group_is_the_smallest_with_even_weights(thresholds, counts, weights):
    plan = plan_stages(stages(*thresholds), "cleaner", UniformNoise())
    assert plan.counts == counts
    assert plan.group == sum(counts)
    assert plan.weights == pytest.approx(weights)


def test_more_stages_than_a_group_usually_has():
    plan = plan_stages(stages(*[(99 - k) / 100 for k in range(99)]), "cleaner", UniformNoise())
    assert plan.group == 128
    assert min(plan.counts) == 1


def test_a_given_group_is_taken():
    assert plan_stages(stages(0.5), "cleaner", UniformNoise(), group=3).counts == (2, 1)
    assert plan_stages(stages(0.75, 0.3), "cleaner", UniformNoise(), group=3).counts == (1, 1, 1)


def test_weights_are_at_least_single_precision():
    plan = plan_stages(stages(0.9), "cleaner", UniformNoise())
    index, u = torch.arange(16), torch.rand(16, dtype=torch.float64)
    assert plan.noise_levels(index, 16, u, torch.bfloat16)[1].dtype == torch.float32
    assert plan.noise_levels(index, 16, u, torch.float64)[1].dtype == torch.float64


def test_a_group_without_room_is_refused():
    with pytest.raises(ValueError, match="a group of 2 samples has no room for 3 stages"):
        plan_stages(stages(0.75, 0.3), "cleaner", UniformNoise(), group=2)


def test_a_batch_of_broken_groups_is_refused():
    plan = plan_stages(stages(0.75), "cleaner", UniformNoise())
    with pytest.raises(ValueError, match="a batch of 6 is not divisible into groups of 4"):
        plan.noise_levels(torch.arange(6), 6, torch.rand(6, dtype=torch.float64))


class OnlyNoisy(NoiseSampler):
    def quantile(self, u):
        return (1 + u) / 2

    def cdf(self, t):
        return (2 * t - 1).clamp(min=0)


@pytest.mark.parametrize("sampler", [OnlyNoisy(), LogitNormalNoise(mean=50.0, std=0.5)])
def test_a_stage_that_is_never_drawn_is_refused(sampler):
    with pytest.raises(ValueError, match=r"never draws a noise level of stage 1, between 0.0 and 0.5"):
        plan_stages(stages(0.5), "cleaner", sampler)


def test_a_stage_without_a_number_is_refused():
    plan = plan_stages(stages(0.5001, 0.5), "cleaner", UniformNoise())
    batch = plan.group
    with pytest.raises(
        ValueError, match=r"stage 1, of noise levels \(0.5, 0.5001\), holds no number of torch.bfloat16"
    ):
        plan.noise_levels(torch.arange(batch), batch, torch.rand(batch, dtype=torch.float64), torch.bfloat16)
