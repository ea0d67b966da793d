"""A small backbone of two levels on the meta device, one of whose blocks is put in place of its own."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo.assembly import build, load_recipe
from zoo.audit import count_stage
from zoo.audit.trace import StageCount, example_inputs
from zoo.backbone import Backbone
from zoo.parts.base import Block
from zoo.parts.values import Layout, Vectors
from zoo.registry import Registry

DIM, DEPTH, CLASS_TOKENS, COARSE, FINE = 16, 4, 2, 4, 16
WHERE = 2
"""The block that is replaced; it runs on the fine level."""
TOKENS = CLASS_TOKENS + FINE
ONE_PRODUCT = TOKENS * DIM * DIM

RECIPE = {
    "name": "small",
    "backbone": {
        "latent": {"channels": 3, "height": 8, "width": 8},
        "num_classes": 5,
        "dim": DIM,
        "depth": DEPTH,
        "heads": 2,
        "patch_schedule": {"type": "by_depth", "levels": [{"patch": 4, "blocks": 2}, {"patch": 2, "blocks": 2}]},
        "class_conditioner": {"type": "class_tokens", "tokens": CLASS_TOKENS},
        "modulation": "shared_adaln",
    },
}


def small() -> Backbone:
    registry = Registry()
    return build(load_recipe(RECIPE, registry=registry), registry=registry, device="meta")


def forward_macs(backbone: Backbone) -> int:
    with FlopCounterMode(display=False) as counter:
        backbone.forward_stage(0, *example_inputs(backbone, 0))
    return counter.get_total_flops() // 2


Step = Callable[[Tensor, Tensor], Tensor]


class Does(Block):
    """Runs one step on the tokens with a weight [D, D]."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step
        self.inner = nn.Linear(DIM, DIM, bias=False, device="meta")

    def forward_stage(
        self, tokens: Float[Tensor, "b T D"], vectors: Vectors, layout: Layout, *taken: Float[Tensor, "b T D"]
    ) -> Float[Tensor, "b T D"]:
        return self.step(tokens, self.inner.weight)


def with_block(block: nn.Module) -> Backbone:
    backbone = small()
    backbone.blocks[WHERE] = block
    return backbone


def counts(step: Step) -> StageCount:
    return count_stage(with_block(Does(step)), 0)
