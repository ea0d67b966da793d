"""Strangers' blocks compiled as training compiles them, told in JSON lines. Run in a process without checks of shapes,
which cannot be compiled."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.backends.debugging import aot_eager

import zoo
from tests.strangers.assemblies import REGISTRY, recipe
from tests.strangers.uvit import UViTBlock
from zoo.lockstep import Piece
from zoo.parts import Group, Layout
from zoo.testing.assemblies import build_random, mixed_inputs

COMPILED = {
    "dic": "both, down and up",
    "uvit": "down and up",
    "uvit_by_level": "up",
    "dico": "narrow",
    "cross": "both",
    "narrow": "narrow",
}
BLOCKS = 28

graphs: list[Any] = []


def counting(graph: Any, inputs: Any) -> Any:
    graphs.append(graph)
    return aot_eager(graph, inputs)


def compiled(block: Any) -> Any:
    return torch.compile(block.forward, backend=counting, fullgraph=True, dynamic=False)


def outcome(backbone: Any) -> list[Tensor]:
    """Velocities, and the gradients of all weights."""
    backbone.zero_grad()
    velocity = backbone(*mixed_inputs(backbone))
    velocity.square().sum().backward()
    return [velocity.detach(), *(each.grad.clone() for each in backbone.parameters())]


def compare(parts: str, schedule: str) -> dict[str, Any]:
    """How far outputs and gradients of compiled blocks are from those of others, over the largest."""
    torch._dynamo.reset()
    graphs.clear()
    backbone = build_random(zoo.load_recipe(recipe(parts, schedule), registry=REGISTRY))
    plain = outcome(backbone)
    for block in backbone.blocks:
        block.forward = compiled(block)
    errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(outcome(backbone), plain, strict=True)]
    return {"parts": parts, "graphs": len(graphs), "error": max(errors)}


def stack(*, skips: bool) -> int:
    """Graphs of a stack of blocks, each compiled, in a pass with gradients."""
    torch._dynamo.reset()
    graphs.clear()
    blocks = [UViTBlock(16, 2, BLOCKS, index if skips else 0, (), skips="depth") for index in range(BLOCKS)]
    layout, tokens = Layout(m=1, grid=(2, 2), patch=(1, 1)), torch.randn(2, 5, 16, requires_grad=True)
    outputs: list[Tensor] = []
    for block in blocks:
        (tokens,) = compiled(block)([Group(tokens, (), layout, tuple(outputs[each] for each in block.takes))])
        outputs.append(tokens)
    tokens.sum().backward()
    return len(graphs)


def routed(router: Any) -> int:
    """Graphs of a backbone of built-in blocks in a step of training, and in one of sampling, which keeps all tokens."""
    torch._dynamo.reset()
    graphs.clear()
    deep = {"depth": BLOCKS, "patch_schedule": {"type": "uniform", "patch": 2}}
    backbone = zoo.build(recipe("narrow", "uniform", **deep, router=router), registry=REGISTRY)
    for block in backbone.blocks:
        block.forward = compiled(block)
    latents, labels = torch.randn(2, *backbone.latent), torch.tensor([0, 1])
    scores = torch.rand(2, backbone.scores)
    trained = Piece(0, latents, torch.full((2,), 0.5), labels, scores)
    backbone.forward_stages([trained])[0].sum().backward()
    backbone.forward_stages([trained._replace(scores=None)])[0].sum().backward()
    return len(graphs)


def whole(route: dict[str, Any]) -> dict[str, Any]:
    """How far velocities and a tap of a pass that is compiled without a break are from those of one that is not."""
    torch._dynamo.reset()
    graphs.clear()
    backbone = build_random(zoo.load_recipe(recipe("narrow", "uniform", router=route), registry=REGISTRY))
    latents, t, labels = mixed_inputs(backbone)
    piece = Piece(0, latents, t, labels, scores=torch.rand(len(t), backbone.scores))
    forward = torch.compile(backbone.forward_stages, backend=counting, fullgraph=True, dynamic=False)
    ((plain, tapped),) = backbone.forward_stages([piece], taps=(0,))
    ((own, taps),) = forward([piece], taps=(0,))
    pairs = [(own, plain), (taps[0].tokens, tapped[0].tokens)]
    error = max(((one - other).abs().max() / other.abs().max()).item() for one, other in pairs)
    assert torch.equal(taps[0].index, tapped[0].index)
    return {"parts": "whole", "graphs": len(graphs), "error": error}


if __name__ == "__main__":
    for parts, schedule in COMPILED.items():
        print(json.dumps(compare(parts, schedule)))
    print(json.dumps({"parts": "stack", "graphs": stack(skips=False), "with skips": stack(skips=True)}))
    route = {"type": "tread", "first": 2, "stop": BLOCKS - 2}
    print(json.dumps({"parts": "router", "graphs": routed("none"), "with a route": routed(route)}))
    print(json.dumps(whole({"type": "tread", "first": 0, "stop": 1})))
