"""What a router costs, and what it saves in training."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from tests.audit.test_report import REGISTRY, SCHEDULES, recipe_of, report_of
from zoo.assembly import load_recipe
from zoo.audit import audit
from zoo.parts.routers import Tread
from zoo.registry import part


@part("router", "rejoins")
class Rejoins(Tread):
    """A Linear, which no call of the router itself comes before, makes of what comes back something else."""

    def __init__(self, depth: int, block_dims: tuple[int, ...], *, first: int, stop: int) -> None:
        super().__init__(first=first, stop=stop)
        self.join = nn.Linear(block_dims[first], block_dims[first])

    def end(self, tokens: Tensor, m: int, route: Any) -> Tensor:
        joined: Tensor = self.join(super().end(tokens, m, route))
        return joined


def test_what_a_router_computes_is_its_own() -> None:
    registry = REGISTRY.with_parts([Rejoins])
    values = recipe_of("uniform").resolved()
    values["backbone"]["router"] = {"type": "rejoins", "first": 1, "stop": 2}
    report = audit(load_recipe(values, registry=registry))
    (router,) = [each for each in report.parts if each.kind == "router"]
    tokens, dim = 3 + 8 * 4, 24
    assert router.macs == tokens * dim * dim
    assert router.params == dim * dim + dim
    assert report.macs == report_of("uniform").macs + router.macs


def test_training_costs_less_where_a_router_leaves_out_tokens() -> None:
    for schedule in SCHEDULES:
        plain = report_of(schedule)
        assert plain.training_macs == plain.macs
    routed = audit(recipe_of("by_timestep", router={"type": "tread", "first": 0, "stop": 2}))
    assert routed.macs == report_of("by_timestep").macs
    mean = sum(stage.share * stage.training_macs for stage in routed.stages)
    assert routed.training_macs == pytest.approx(mean, abs=0.5)
    assert routed.training_macs < routed.macs
    assert routed.to_dict()["training_macs"] == routed.training_macs
