"""What zoo tells an optimizer of each weight, what it makes of several, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from tests.train.small import small
from zoo.assembly import build
from zoo.errors import PluginError
from zoo.optim import Optimizer, Weight
from zoo.optim.updates import Updates, weights_of
from zoo.registry import Registry


def test_roles_are_what_the_weights_are_for() -> None:
    recipe = small(
        "backbone.position=learned", "backbone.modulation=adaln_single",
        "backbone.block.norm={type: rms, affine: true}",
        registry=Registry(),
    )  # fmt: skip
    backbone = build(recipe, device="meta")
    found = {each.name: (each.role, each.in_block) for each in weights_of(backbone, backbone.blocks)}
    assert list(found) == [name for name, _ in backbone.named_parameters()]
    assert found["blocks.0.attention.qkv.weight"] == ("matrix", True)
    assert found["blocks.0.attention.qkv.bias"] == ("bias", True)
    assert found["blocks.1.norm1.weight"] == ("norm", True)
    outside = {role: [name for name, each in found.items() if each == (role, False)] for role in ("matrix", "table")}
    assert any(name.startswith("patch_embedders.") for name in outside["matrix"])
    assert any(name.startswith("positions.") for name in outside["table"])
    assert any(name.startswith("modulation.") for name in outside["table"])
    assert found["class_conditioner.embedding.weight"] == ("embedding", False)


def test_frozen_weights_are_not_given() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert [each.name for each in weights_of(module, [])] == ["weight"]


class By(Optimizer):
    """Builds what a function says."""

    def __init__(self, build: Callable[[list[nn.Parameter], float], Any]) -> None:
        self.function = build

    def build(self, weights: Sequence[Weight], learning_rate: float) -> Any:
        return self.function([each.parameter for each in weights], learning_rate)


def updates(build: Callable[[list[nn.Parameter], float], Any]) -> tuple[nn.Linear, Updates]:
    module = nn.Linear(2, 2)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    return module, Updates(By(build), module, [], 0.5)


def test_rates_of_groups_keep_their_ratios() -> None:
    module, both = updates(
        lambda given, rate: [torch.optim.SGD([given[0]], lr=rate), torch.optim.SGD([given[1]], lr=3 * rate)]
    )
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    both.step(0.125)
    assert torch.equal(module.weight, torch.full((2, 2), 1 - 0.125))
    assert torch.equal(module.bias, torch.full((2,), 1 - 0.375))
    both.zero_grad()
    assert module.weight.grad is module.bias.grad is None


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda given, rate: torch.optim.SGD(given[:1], lr=rate), "has bias in no group; each weight belongs in one"),
        (
            lambda given, rate: [torch.optim.SGD(given, lr=rate), torch.optim.SGD(given[1:], lr=rate)],
            "has bias in several groups; each weight belongs in one",
        ),
        (
            lambda given, rate: torch.optim.SGD([*given, nn.Parameter(torch.ones(1))], lr=rate),
            "has weights in its groups that it was not given; let it take none but these",
        ),
        (lambda given, rate: [given[0]], "builds Parameter in place of a torch.optim.Optimizer, or several"),
        (lambda given, rate: [], "builds nothing in place of a torch.optim.Optimizer, or several"),
    ],
)
def test_what_is_no_optimizer_of_all_weights_is_refused(build: Callable[..., Any], told: str) -> None:
    with pytest.raises(PluginError) as refused:
        updates(build)
    assert str(refused.value) == f"optimizer By: {told}"
