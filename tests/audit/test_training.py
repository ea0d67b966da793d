"""What a sample of a batch costs in training: a mean over the stages as the batch has them, and three passes' worth."""

import pytest

from tests.train.small import small
from zoo.assembly import build, create_part
from zoo.audit import audit, training_macs
from zoo.flow import plan_stages
from zoo.registry import Registry

REGISTRY = Registry()


@pytest.mark.parametrize(("sampler", "group"), [("uniform", 2), ("{type: logit_normal, mean: -1.0}", 8)])
def test_stages_count_as_often_as_a_batch_has_them(sampler, group):
    recipe = small(f"objective.noise_sampler={sampler}", registry=REGISTRY)
    report, backbone = audit(recipe), build(recipe, registry=REGISTRY, device="meta")
    plan = plan_stages(backbone.stages, backbone.ties, create_part(recipe, "noise_sampler"), group)
    noisy, clean = (stage.macs for stage in report.stages)
    assert sum(plan.counts) == group
    assert training_macs(report, plan) == 3 * (plan.counts[0] * noisy + plan.counts[1] * clean) // group
    if sampler != "uniform":  # more of the cleaner stage, and so more than the mean over uniform noise levels
        assert plan.counts[1] > plan.counts[0]
        assert training_macs(report, plan) > 3 * report.macs
