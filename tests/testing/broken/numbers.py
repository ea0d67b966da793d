"""Parts that round on the way, or whose inputs get other gradients than slopes."""

import torch

from tests.testing.broken import Broken
from tests.testing.broken.blocks import OneByOne
from zoo.parts.heads import LinearHead
from zoo.parts.mlps import GELUMLP
from zoo.parts.norms import RMSNorm
from zoo.registry import part
from zoo.testing.numeric_laws import gradients_are_slopes, rounds_nothing_on_the_way


@part("norm", "rounds_its_scale")
class RoundsItsScale(RMSNorm):
    def forward(self, tokens):
        return super().forward(tokens).bfloat16().to(tokens.dtype)


@part("mlp", "casts_by_itself")
class CastsByItself(GELUMLP):
    def forward(self, tokens, layout):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(tokens, layout).to(tokens.dtype)


@part("block", "detaches_its_branch")
class DetachesItsBranch(OneByOne):
    """All parameters learn; what is before the block learns by the residual stream alone."""

    def forward_stage(self, tokens, vectors, layout, *taken):
        held = tokens.detach()
        return tokens + super().forward_stage(held, vectors, layout, *taken) - held


@part("head", "detaches_its_vectors")
class DetachesItsVectors(LinearHead):
    def forward(self, tokens, vectors, grid):
        return super().forward(tokens, tuple(each.detach() for each in vectors), grid)


BROKEN: list[Broken] = [
    (rounds_nothing_on_the_way, RoundsItsScale, r"in float32, it computes torch.bfloat16 by aten\._to_copy"),
    (rounds_nothing_on_the_way, CastsByItself, r"in float32, it computes torch.bfloat16 by aten\."),
    (gradients_are_slopes, DetachesItsBranch, r"the gradient of input 0 \[3, .* rises by "),
    (gradients_are_slopes, DetachesItsVectors, r"the gradient of input 1 \[3, \d+\] is 0 along a way"),
]
