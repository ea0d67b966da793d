"""Attention: the tokens of stages in, tokens of the same shapes out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from zoo.parts.values import Layout, Rotary
from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, FEW, Case, Random
from zoo.testing.count_laws import attention_is_seen
from zoo.testing.law import Law, law
from zoo.testing.of_kind.block import layout
from zoo.testing.of_kind.subset import runs_on_a_subset
from zoo.testing.of_kind.uses import goes_by_differences_of_angles, leaves_padding_out, takes_what_it_uses, with_layout


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens of one stage, and their layout with all that the part needs or uses."""
    part: Any = case.unmade
    return [random(batch, case.m + case.count, case.dim)], [layout(case, part, batch, random)]


@law(
    "Let forward() give for every stage what forward_stage() gives for it: nothing may be mixed or averaged "
    "between them."
)
def stages_are_alone(case: Case) -> None:
    """The tokens of several stages in one call give what each gives by itself."""
    part: Any = case.build()
    (one,), (layout_of_one,) = case.inputs(BATCH)
    (other,), (layout_of_other,) = case.inputs(1)
    together = part([one, other], [layout_of_one, layout_of_other])
    for tokens, own, returned in zip((one, other), (layout_of_one, layout_of_other), together, strict=True):
        alone = part.forward_stage(tokens, own)
        assert_close(returned, alone, "what a stage's tokens give depends on the other stages of the call", SINGLE)


@law(
    "Look for heads that are not transposed back before they are joined, or a causal mask; attention that goes by the"
    " order of tokens on purpose, as a scan does, need not keep it.",
    examples=FEW,
    required=False,
)
def goes_by_angles_alone(case: Case) -> None:
    """Unless it goes by the grid, tokens that are permuted with their angles give what they give, permuted."""
    if case.site.axes == 1:  # no other grid has as many tokens, to see that by
        return
    part: Any = case.build()
    inputs = ([tokens], _) = case.inputs(BATCH)
    (own,) = part(*inputs)
    flat = (1,) * (case.site.axes - 1) + (case.count,)
    for grid in (flat, flat[::-1]):
        (other,) = part(*with_layout(inputs, partial(replace, grid=grid)))
        if not torch.allclose(other, own, rtol=0, atol=SINGLE):
            return
    order = torch.randperm(case.count, generator=torch.Generator().manual_seed(case.seed))
    places = torch.cat([torch.arange(case.m), case.m + order])

    def permute(layout: Layout) -> Layout:
        return replace(layout, rotary=layout.rotary and Rotary(*(each[order] for each in layout.rotary)))

    (permuted,) = part([tokens[:, places]], with_layout(inputs[1], permute))
    assert_close(permuted, own[:, places], "what a token gives hangs on its number in the sequence", SINGLE)


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "attention": (
        stages_are_alone,
        runs_on_a_subset,
        takes_what_it_uses,
        leaves_padding_out,
        goes_by_angles_alone,
        goes_by_differences_of_angles,
        attention_is_seen,
    )
}
