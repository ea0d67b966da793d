"""How the backbone computes: compiled, checkpointed. In a process without shape checks, which cannot be compiled."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COUNT = """
import json, sys, torch
from zoo import Registry, build, load_recipe
from zoo.flow import objective_of
from zoo.distributed.distributed import Distributed
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

graphs = []
torch._dynamo.list_backends()

@torch._dynamo.register_backend(name="counting")
def counting(graph, inputs):
    graphs.append(graph)
    return graph.forward

@torch._dynamo.register_backend(name="wrong")
def wrong(graph, inputs):
    return lambda *given: [each.sin() if each.is_floating_point() else each for each in graph(*given)]

registry = Registry()
small = ["backbone.dim=16", "backbone.heads=2", "train.batch=8", "train.steps=2", "backbone.class_conditioner.std=0.02"]
for overrides in json.loads(sys.argv[1]):
    graphs.clear()
    torch._dynamo.reset()
    torch.manual_seed(0)
    recipe = load_recipe("digits_dit", [*small, *overrides], registry)
    backbone = build(recipe, registry=registry)
    with torch.no_grad():  # gates and heads start at zero, behind which no block could be seen
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    objective = objective_of(recipe, backbone)
    trainer = Trainer(open_job(recipe, objective, registry, 0, 1), objective, Distributed(0, 1, torch.device("cpu")))
    losses = [step.loss for step in trainer.run(2)]
    print(json.dumps([len(graphs), losses]))
"""

COMPILED = ("train.compile=true", "train.compile_backend=counting")
WAYS = {
    "plain": (),
    "compiled": COMPILED,
    "checkpointed": ("train.checkpoint_activations=true",),
    "both": (*COMPILED, "train.checkpoint_activations=true"),
    "wrong": ("train.compile=true", "train.compile_backend=wrong"),
}


pytestmark = pytest.mark.slow  # torch.compile takes seconds, whatever it compiles


@pytest.fixture(scope="module")
def trained() -> dict[str, tuple[int, list[float]]]:
    """How many graphs were compiled, and the losses, in each way to compute."""
    command = [sys.executable, "-c", COUNT, json.dumps(list(WAYS.values()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(zip(WAYS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("way", ["compiled", "both"])
def test_blocks_are_compiled_whether_or_not_they_are_checkpointed(
    trained: dict[str, tuple[int, list[float]]], way: str
) -> None:
    assert trained["plain"][0] == 0
    assert 1 <= trained[way][0] <= 6


@pytest.mark.parametrize("way", ["compiled", "checkpointed", "both"])
def test_losses_are_the_same_in_every_way(trained: dict[str, tuple[int, list[float]]], way: str) -> None:
    assert trained[way][1] == pytest.approx(trained["plain"][1], rel=1e-5)


def test_blocks_that_compute_something_else_have_other_losses(trained: dict[str, tuple[int, list[float]]]) -> None:
    for loss, plain in zip(trained["wrong"][1], trained["plain"][1], strict=True):
        assert loss != pytest.approx(plain, rel=1e-3)
