"""Strangers' parts in all schedules: what can be is built and audited, and of the rest one line says why it cannot."""

import pytest
import torch

import zoo
from tests.strangers.assemblies import DEPTH, PARTS, REGISTRY, SCHEDULES, recipe
from zoo.errors import RecipeError

NEVER_THERE = "conv_merge|copies: needs what left patch 2 on the way down, and stage 0 comes to 2 without"
REFUSED = {
    ("uvit", "down"): "block 3 takes the output of block 1, which in stage 0 is at patch 1",
    ("uvit", "up"): "block 3 takes the output of block 1, which in stage 0 is at patch 4",
    ("uvit", "both"): "block 3 takes the output of block 1, which in stage 0 is at patch 4",
    ("uvit_by_level", "both"): "block 3 would take none and block 1's output, in one stage and in another",
    **{(parts, schedule): NEVER_THERE for parts in ("dico", "narrow") for schedule in ("up", "both")},
}
"""A skip between patches, or from where a stage has not been, means nothing."""

TAKES = {
    ("dic", "uniform"): [(), (), (), (), ()],
    ("dic", "down"): [(), (), (), (), ()],
    ("dic", "down and up"): [(), (), (), (1,), (0,)],
    ("dic", "narrow"): [(), (), (), (1,), (0,)],
    ("dic", "by timestep"): [(), (), (), (), ()],
    ("dic", "both"): [(), (), (), (), ()],
    ("dic", "both, down and up"): [(), (), (), (1,), (0,)],
    ("uvit", "uniform"): [(), (), (), (1,), (0,)],
    ("uvit", "both, down and up"): [(), (), (), (1,), (0,)],
    ("uvit_by_level", "up"): [(), (), (), (), (2,)],
    ("uvit_by_level", "by timestep"): [(), (), (), (1,), (0,)],
    ("uvit_by_level", "both, down and up"): [(), (), (), (), ()],
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("parts", PARTS)
def test_every_pair_is_built_and_audited_or_refused_in_a_line(parts, schedule):
    values = recipe(parts, schedule)
    reason = REFUSED.get((parts, schedule))
    if reason is not None:
        with pytest.raises(RecipeError, match=reason):
            zoo.build(values, registry=REGISTRY)
        return
    cost = zoo.cost(values, registry=REGISTRY)
    backbone = zoo.build(values, registry=REGISTRY)
    assert cost.params.total == sum(each.numel() for each in (*backbone.parameters(), *backbone.buffers()))
    assert len(backbone.blocks) == DEPTH
    for stage in range(len(backbone.stages)):
        latents = torch.randn(2, *backbone.latent_of(stage))
        velocity = backbone.forward_stage(stage, latents, torch.full((2,), 0.5), torch.tensor([0, 10]))
        assert velocity.shape == latents.shape
        assert velocity.isfinite().all()


@pytest.mark.parametrize(("parts", "schedule"), TAKES)
def test_blocks_take_what_was_left_last(parts, schedule):
    backbone = zoo.build(recipe(parts, schedule), registry=REGISTRY, device="meta")
    assert [block.takes for block in backbone.blocks] == TAKES[parts, schedule]
