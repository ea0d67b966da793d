"""Counting leaves a backbone as it was, can be done again, and adds up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.audit.small import (
    Does,
    small,
    with_block,
)
from tests.audit.test_declared import Convolves, Declares, convolving
from tests.audit.test_trace import FAULTY, UNKNOWN, UNTRACEABLE
from zoo.audit import count_stage
from zoo.backbone import Backbone
from zoo.errors import AuditError


def state(backbone: Backbone) -> Iterator[tuple[Any, ...]]:
    for name, module in backbone.named_modules():
        hooks = {key: dict(value) for key, value in vars(module).items() if key.endswith("_hooks") and value}
        frozen = [(key, parameter.requires_grad) for key, parameter in module.named_parameters(recurse=False)]
        yield name, type(module), "forward" in vars(module), module.training, hooks, frozen


@pytest.mark.parametrize(
    "backbone",
    [
        small(),
        convolving(Declares),
        convolving(Convolves),
        with_block(Does(UNTRACEABLE["value"])),
        with_block(Does(UNKNOWN["inner"][0])),
        with_block(Does(FAULTY["division"][0])),
    ],
    ids=["plain", "declared", "convolutions", "untraceable", "unknown operator", "error of its own"],
)
def test_backbone_is_left_as_it_was(backbone: Backbone) -> None:
    before = list(state(backbone))
    for _ in range(2):
        with contextlib.suppress(AuditError):
            count_stage(backbone, 0)
        assert list(state(backbone)) == before
    assert torch._C._get_tracing_state() is None


def test_hooks_of_the_owner_stay_and_can_be_removed() -> None:
    backbone = small()
    calls: list[nn.Module] = []
    handle = backbone.blocks[0].register_forward_hook(lambda module, inputs, output: calls.append(module))
    count_stage(backbone, 0)
    assert len(calls) == 1
    handle.remove()
    count_stage(backbone, 0)
    assert len(calls) == 1


def test_what_a_part_caches_in_a_trace_is_dropped() -> None:
    block = Does(lambda x, w: setattr(block, "cache", x) or x)
    count_stage(with_block(block), 0)
    assert not hasattr(block, "cache")


def test_counting_is_repeatable() -> None:
    backbone = small()
    assert count_stage(backbone, 0) == count_stage(backbone, 0)


def test_parts_add_up() -> None:
    counted = count_stage(small(), 0)
    assert counted.macs == sum(counts for name, counts in counted.modules.items() if "." not in name)
    assert 0 < counted.attention_macs < counted.modules["blocks"]
    assert counted.norm_ops > 0
