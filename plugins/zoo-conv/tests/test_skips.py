"""Which block takes whose output, against one stack that is pushed and popped through the whole backbone."""

import pytest

import zoo
from zoo.errors import RecipeError


def by_a_stack(runs, every):
    """For every block, those that it takes: pushed on the way down, popped on the way up."""
    stack, taken = [], []
    for level, blocks in enumerate(runs):
        for block in range(blocks):
            pops = level > len(runs) // 2 and block % every == 0
            taken.append((stack.pop(),) if pops else ())
            if level < len(runs) // 2 and (blocks - 1 - block) % every == 0:
                stack.append(len(taken) - 1)
    assert not stack
    return taken


@pytest.mark.parametrize(
    ("name", "runs", "skips"),
    [
        ("dic_s", (6, 6, 5, 6, 6), 4),
        ("dic_xl", (7, 7, 8, 7, 7), 6),
        ("dic_h", (14, 14, 10, 14, 14), 10),
    ],
)
def test_skips_are_last_in_first_out(name, runs, skips, shipped, registry):
    backbone = zoo.build(shipped(name), registry=registry, device="meta")
    taken = [block.takes for block in backbone.blocks]
    assert taken == by_a_stack(runs, 3)
    assert sum(map(len, taken)) == skips


def test_levels_without_a_way_down_take_nothing(shipped, registry):
    up = "backbone.patch_schedule.levels=[{patch: 4, blocks: 3, dim: 64}, {patch: 2, blocks: 3, dim: 64}]"
    recipe = shipped("dic_s", up, "backbone.dim=64", "backbone.depth=6")
    assert all(block.takes == () for block in zoo.build(recipe, registry=registry, device="meta").blocks)


def test_another_skip_in_another_stage_is_refused(shipped, registry):
    stages = (
        "{noise_above: 0.5, levels: [{patch: 2, blocks: 2}, {patch: 4, blocks: 1}, {patch: 2, blocks: 3}]}",
        "{noise_above: 0.0, levels: [{patch: 1, blocks: 3}, {patch: 2, blocks: 1}, {patch: 1, blocks: 2}]}",
    )
    schedule = f"backbone.patch_schedule={{type: by_depth_and_timestep, stages: [{', '.join(stages)}]}}"
    with pytest.raises(RecipeError, match="takes the output of another block in one stage than in another"):
        zoo.build(shipped("dic_s", schedule, "backbone.depth=6"), registry=registry, device="meta")
