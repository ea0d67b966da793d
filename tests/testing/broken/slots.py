"""Parts inside blocks that break a law of theirs."""

from dataclasses import replace
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch.nn.functional import scaled_dot_product_attention

from tests.testing.broken import Broken
from zoo.parts import Attention, Linear, Norm, rotate
from zoo.parts.attentions import SoftmaxAttention
from zoo.parts.mlps import GELUMLP
from zoo.parts.values import Rotary
from zoo.registry import part
from zoo.testing import laws
from zoo.testing.of_kind import attention, mlp, norm, uses


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


@part("mlp", "beside_the_mean")
class BesideTheMean(GELUMLP):
    """Says that each token is by itself, and goes by the mean of all, whatever their order."""

    def forward(self, tokens, layout):
        return super().forward(tokens + tokens.mean(1, keepdim=True), layout)


@part("mlp", "by_row")
class ByRow(GELUMLP):
    """Looks at the row of the grid that a token would be in, if none were left out."""

    per_token = False

    def forward(self, tokens, layout):
        rows = torch.arange(layout.grid[0]).repeat_interleave(prod(layout.grid[1:]))
        return super().forward(tokens + torch.cat([rows.new_zeros(layout.m), rows]).to(tokens)[:, None], layout)


@part("attention", "by_no_angles")
class ByNoAngles(SoftmaxAttention):
    """Says that it turns, and does not."""

    uses = frozenset({"rotary"})

    def forward_stage(self, tokens, layout):
        return super().forward_stage(tokens, replace(layout, rotary=None))


class ToContext(Attention):
    """Attends to the context too."""

    uses = frozenset({"context"})

    def __init__(self, dim: int, heads: int, condition_dim: int) -> None:
        super().__init__()
        self.joins = Linear(condition_dim, dim)
        self.inner = SoftmaxAttention(dim, heads)

    def forward_stage(self, tokens, layout):
        joined = tokens if layout.context is None else torch.cat([tokens, self.joins(layout.context)], dim=1)
        return self.inner.forward_stage(joined, replace(layout, rotary=None))[:, : tokens.shape[1]]


@part("attention", "to_padding")
class ToPadding(ToContext):
    """Attends to what is not there, too."""


@part("attention", "to_no_context")
class ToNoContext(ToContext):
    def forward_stage(self, tokens, layout):
        return super().forward_stage(tokens, replace(layout, context=None))


@part("attention", "heads_in_place_of_tokens")
class HeadsInPlaceOfTokens(Attention):
    """Joins heads that are not transposed back."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, Linear(dim, 3 * dim), Linear(dim, dim)

    def forward_stage(self, tokens, layout):
        b, t, d = tokens.shape
        q, k, v = self.qkv(tokens).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.out(scaled_dot_product_attention(q, k, v, is_causal=True).reshape(b, t, d))


class Scaled(Norm):
    """Divides by a root mean square."""

    def __init__(self, dim: int) -> None:
        super().__init__()

    def by(self, tokens, axes):
        return tokens * (tokens.square().mean(axes, keepdim=True) + 1e-6).rsqrt()


@part("norm", "over_tokens")
class OverTokens(Scaled):
    def forward(self, tokens):
        return self.by(tokens, tuple(range(1, tokens.ndim)))


@part("norm", "of_three_axes")
class OfThreeAxes(Scaled):
    def forward(self, tokens):
        b, t, d = tokens.shape
        return self.by(tokens.reshape(b * t, d), -1).reshape(b, t, d)


@part("norm", "of_one_memory")
class OfOneMemory(Scaled):
    def forward(self, tokens):
        return self.by(tokens.view(-1, tokens.shape[-1]), -1).view(tokens.shape)


@part("mlp", "mixed_softly")
class MixedSoftly(GELUMLP):
    """Weighs experts by a softmax, of which one has no gradient."""

    def __init__(self, dim: int, *, experts: Annotated[int, Field(ge=1, le=2)]) -> None:
        super().__init__(dim)
        self.gate, self.experts = Linear(dim, experts), Linear(dim, experts * dim)

    def forward(self, tokens, layout):
        experts = self.experts(tokens).unflatten(-1, (-1, tokens.shape[-1]))
        return (self.gate(tokens).softmax(-1).unsqueeze(-1) * experts).sum(-2) + super().forward(tokens, layout)


@part("attention", "turns_queries_alone")
class TurnsQueriesAlone(Attention):
    uses = frozenset({"rotary"})

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, Linear(dim, 3 * dim), Linear(dim, dim)

    def forward_stage(self, tokens, layout):
        b, t, d = tokens.shape
        q, k, v = self.qkv(tokens).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        turned = q if layout.rotary is None else rotate(q, layout.rotary, layout.m)
        return self.out(scaled_dot_product_attention(turned, k, v).transpose(1, 2).reshape(b, t, d))


BROKEN: list[Broken] = [
    (attention.stages_are_alone, AcrossStages, "depends on the other stages of the call"),
    (mlp.is_per_token, ShiftsTokens, "per_token is True, and a token's output depends on the others"),
    (mlp.is_per_token, BesideTheMean, "per_token is True, and a token's output depends on the others"),
    (attention.runs_on_a_subset, TurnsAsTheFirst, "depends on which tokens of the others go on"),
    (mlp.runs_on_a_subset, ByRow, "some of the image's tokens"),
    (uses.takes_what_it_uses, ByNoAngles, "says that it takes rotary, and gives the same whatever that is"),
    (uses.takes_what_it_uses, ToNoContext, "says that it takes context, and gives the same whatever that is"),
    (uses.leaves_padding_out, ToPadding, "hangs on tokens of the context that are not there"),
    (attention.goes_by_angles_alone, HeadsInPlaceOfTokens, "hangs on its number in the sequence"),
    (norm.norms_each_alone, OverTokens, "tokens of all samples in a row, .*, come out otherwise"),
    (norm.norms_each_alone, OfThreeAxes, "not enough values to unpack"),
    (norm.norms_each_alone, OfOneMemory, "view size is not compatible"),
    (laws.gradient_reaches_parameters, MixedSoftly, "'experts': 1.*raise the bound of the option that makes it one"),
    (uses.goes_by_differences_of_angles, TurnsQueriesAlone, "hangs on more than how far the angles of two tokens"),
]
