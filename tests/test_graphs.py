"""How many graphs blocks compile to, as docs/train.md has them: one for all of equal shapes, and none after the first
step or picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_passes
import pytest
import torch
from jaxtyping import config
from torch._dynamo.backends.debugging import aot_eager

from zoo.assembly import build, create_part
from zoo.backbone import Backbone
from zoo.compiling import compile_blocks
from zoo.flow import EulerSolver, sample

TINY = ("backbone.dim=8", "backbone.heads=2", "sample.guidance={type: classifier_free, scale: 2.0, channels: null}")
PAGE = Path(__file__).parents[1] / "docs" / "train.md"
TABLE = {
    name: (int(training), int(drawing))
    for name, training, drawing in re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
}
"""Graphs of training and of drawing, by recipe."""


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Those that are compiled."""
    found: list[Any] = []

    def counting(graph: Any, inputs: Any) -> Any:
        found.append(graph)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(config, "jaxtyping_disable", True)
    monkeypatch.setattr(torch, "compile", partial_backend(torch.compile, counting))
    torch.compiler.reset()
    yield found
    torch.compiler.reset()


def partial_backend(compile_: Any, backend: Any) -> Any:
    return lambda function, **options: compile_(function, **{**options, "backend": backend})


def compiled(name: str) -> Backbone:
    backbone = build(bench_passes.recipe_of(name, TINY), registry=bench_passes.REGISTRY)
    compile_blocks(backbone.blocks)
    return backbone


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_training(name: str, graphs: list[Any]) -> None:
    step = bench_passes.training_pass(compiled(name), batch=4 if name != "ppflow_b_3" else 8)
    step()
    assert len(graphs) == TABLE[name][0]
    with torch.compiler.set_stance("fail_on_recompile"):
        step()


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_drawing(name: str, graphs: list[Any]) -> None:
    """Guided at all noise levels, a stage at a time."""
    backbone = compiled(name).eval()
    noise, labels = torch.randn(2, *backbone.latent), backbone.conditioner.example_labels(2)

    def draw() -> None:
        guidance = create_part(backbone.recipe, "guidance")
        sample(backbone, EulerSolver(), noise, labels, steps=8, draw=lambda _: noise, guidance=guidance)

    draw()
    assert len(graphs) == TABLE[name][1]
    with torch.compiler.set_stance("fail_on_recompile"):
        draw()


@pytest.mark.slow
def test_blocks_of_other_shapes_are_seen(graphs: list[Any]) -> None:
    backbone = compiled("dit_b")
    bench_passes.training_pass(backbone, batch=2)()
    with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError, match="recompile"):
        bench_passes.training_pass(backbone, batch=3)()
    assert len(graphs) == 1


def test_the_table_has_a_recipe_of_each_schedule() -> None:
    assert list(TABLE) == ["dit_b", "mpdit_b", "ppflow_b_3", "hybrid_b"]
