"""When the gradient of each block is ready, so that its exchange with other processes can begin: by operators of the
backward pass, which are the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.assembly import build, load_recipe
from zoo.audit.memory import samples_of
from zoo.flow import Objective, StageBatch, objective_of
from zoo.registry import Registry

FAMILIES = ("hybrid_b", "ppflow_b_2", "ppflow_b_3")


class Passing(TorchDispatchMode):
    """Counts operators."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def together(objective: Objective, pieces: Sequence[StageBatch]) -> torch.Tensor:
    (error,) = objective(list(pieces)).values()
    return error.sum()


def stage_by_stage(objective: Objective, pieces: Sequence[StageBatch]) -> torch.Tensor:
    return torch.stack([together(objective, [each]) for each in pieces]).sum()


def readiness(
    name: str, losses: Callable[..., torch.Tensor], modules: Callable[..., Any] = lambda backbone: backbone.blocks
) -> list[float]:
    """Of each block, the share of the backward pass after which it adds nothing more to its gradients."""
    registry = Registry()
    small = ["backbone.dim=16", "backbone.heads=2", "backbone.latent={channels: 1, height: 16, width: 16}"]
    recipe = load_recipe(name, [*small, "sample.guidance.channels=", "data.normalize=none"], registry)
    objective = objective_of(recipe, build(recipe, registry=registry))
    stages = range(len(objective.backbone.stages))
    passing, ready = Passing(), {}

    def watch(block: nn.Module) -> None:
        for parameter in block.parameters():
            parameter.register_post_accumulate_grad_hook(lambda _: ready.__setitem__(block, passing.count))

    for block in modules(objective.backbone):
        watch(block)
    loss = losses(objective, [samples_of(objective, stage, 1) for stage in stages])
    with passing:
        loss.backward()  # type: ignore[no-untyped-call]
    return [ready[block] / passing.count for block in modules(objective.backbone)]


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_ready_from_the_last_block_to_the_first(name: str) -> None:
    found = readiness(name, together)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.25
    assert found[len(found) // 2] < 0.6


@pytest.mark.parametrize("name", FAMILIES)
def test_stage_by_stage_the_last_block_would_be_late(name: str) -> None:
    found = readiness(name, stage_by_stage)
    assert found[-1] > 0.25


def test_what_modulates_a_block_is_ready_with_it() -> None:
    """In DiT a third of all weights: at the end of the backward pass nothing would be left to hide their exchange."""
    found = readiness("dit_b", together, lambda backbone: backbone.modulation.blocks)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.25
    assert found[len(found) // 2] < 0.6
