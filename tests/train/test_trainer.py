"""How the backbone computes: compiled, checkpointed. In a process without shape checks, which cannot be compiled."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT = """
import sys, torch
from zoo import Registry, build, load_recipe
from zoo.train.distributed import World
from zoo.train.job import open_job
from zoo.train.trainer import Trainer

graphs = []
torch._dynamo.list_backends()

@torch._dynamo.register_backend(name="counting")
def counting(graph, inputs):
    graphs.append(graph)
    return graph.forward

torch.manual_seed(0)
registry = Registry()
small = ["backbone.dim=16", "backbone.heads=2", "train.batch=8", "train.steps=2", "backbone.class_conditioner.std=0.02"]
recipe = load_recipe("digits_dit", [*small, "train.compile_backend=counting", *sys.argv[1:]], registry)
backbone = build(recipe, registry=registry)
trainer = Trainer(open_job(recipe, backbone, registry, 0, 1), backbone, World(0, 1, torch.device("cpu")))
losses = [step.loss for step in trainer.run(2)]
print(len(graphs), *losses)
"""


def graphs_and_losses(*overrides: str) -> tuple[int, list[float]]:
    done = subprocess.run([sys.executable, "-c", COUNT, *overrides], capture_output=True, text=True, check=True)
    graphs, *losses = done.stdout.split()
    return int(graphs), [float(loss) for loss in losses]


@pytest.fixture(scope="module")
def plain() -> tuple[int, list[float]]:
    return graphs_and_losses()


@pytest.mark.parametrize("checkpointed", ["true", "false"])
def test_blocks_are_compiled_whether_or_not_they_are_checkpointed(
    plain: tuple[int, list[float]], checkpointed: str
) -> None:
    assert plain[0] == 0
    graphs, losses = graphs_and_losses("train.compile=true", f"train.checkpoint_activations={checkpointed}")
    assert 1 <= graphs <= 6
    assert losses == pytest.approx(plain[1], rel=1e-5)
