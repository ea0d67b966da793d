"""Parts inside blocks that break a law of theirs."""

from dataclasses import replace
from math import prod

import torch

from tests.testing.broken import Broken
from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.mlps import GELUMLP
from zoo.parts.values import Rotary
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


@part("attention", "turns_as_the_first")
class TurnsAsTheFirst(SoftmaxAttention):
    """Takes the angles of the first sample for all."""

    uses = frozenset({"rotary"})

    def forward(self, tokens, layouts):
        return super().forward(tokens, [self.of_the_first(layout) for layout in layouts])

    def of_the_first(self, layout):
        if layout.index is None:
            return layout
        return replace(layout, rotary=Rotary(*(each[:1].expand_as(each) for each in layout.rotary)))


@part("mlp", "by_row")
class ByRow(GELUMLP):
    """Looks at the row of the grid that a token would be in, if none were left out."""

    per_token = False

    def forward(self, tokens, layout):
        rows = torch.arange(layout.grid[0]).repeat_interleave(prod(layout.grid[1:]))
        return super().forward(tokens + torch.cat([rows.new_zeros(layout.m), rows]).to(tokens)[:, None], layout)


BROKEN: list[Broken] = [
    (attention.stages_are_alone, AcrossStages, "depends on the other stages of the call"),
    (mlp.is_per_token, ShiftsTokens, "per_token is True, and a token's output depends on the others"),
    (attention.runs_on_a_subset, TurnsAsTheFirst, "depends on which tokens of the others go on"),
    (mlp.runs_on_a_subset, ByRow, "some of the image's tokens"),
]
