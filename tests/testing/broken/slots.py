"""Parts inside blocks that break a law of theirs."""

import torch

from tests.testing.broken import Broken
from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.mlps import GELUMLP
from zoo.registry import part
from zoo.testing.of_kind import attention, mlp


@part("attention", "across_stages")
class AcrossStages(SoftmaxAttention):
    """What a wrong mask over packed tokens does: the samples of a stage see a little of another's."""

    def forward(self, tokens, layouts):
        mean = torch.cat([each.flatten(0, 1) for each in tokens]).mean(dim=0)
        return super().forward([each + 0.01 * mean for each in tokens], layouts)


@part("mlp", "shifts_tokens")
class ShiftsTokens(GELUMLP):
    """Lets each token see the one before, and does not say so."""

    def forward(self, tokens, layout):
        return super().forward(tokens + tokens.roll(1, dims=1), layout)


BROKEN: list[Broken] = [
    (attention.stages_are_alone, AcrossStages, "depends on the other stages of the call"),
    (mlp.is_per_token, ShiftsTokens, "per_token is True, and a token's output depends on the others"),
]
