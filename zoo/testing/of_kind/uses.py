"""What a block, or the attention in one, makes of the facts that it says it takes: angles, and a context."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import torch

from zoo.parts.facts import facts_of
from zoo.parts.values import Group, Layout, Rotary, tensors_in
from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, FEW, Case
from zoo.testing.law import law
from zoo.testing.options_laws import others_of

Change = Callable[[Layout], Layout]

ROUNDS = 3
"""Of drawing others, in some of which it should show."""


@law(
    "Turn queries and keys by layout.rotary (zoo.parts.rotate), and attend to layout.context; or leave out of uses and"
    " needs what it makes nothing of, since a recipe counts on it.",
    examples=1,
)
def takes_what_it_uses(case: Case) -> None:
    """Other angles, or another context, change what a part gives that says it takes them, in some case.

    What parts inside it say, it may keep from them.
    """
    for fact, change in CHANGES.items():
        if _says(case, fact) and not _shows(case, change):
            drawn = chain.from_iterable(others_of(case, number) for number in range(ROUNDS))
            others = (each for each in drawn if each.refusal() is None and _says(each, fact))
            assert any(_shows(each, change) for each in others), (
                f"says that it takes {fact}, and gives the same whatever that is"
            )


@law("Attend to tokens of the context where layout.context_mask is True alone: the others are padding.", examples=FEW)
def leaves_padding_out(case: Case) -> None:
    """What is in a context where its mask is False changes nothing."""
    if _takes(case, "context"):
        part, inputs = case.build(), case.inputs(BATCH)
        other, own = (case.call(part, each) for each in (with_layout(inputs, _other_padding), inputs))
        assert_close(other, own, "what it gives hangs on tokens of the context that are not there", SINGLE)


@law(
    "Turn keys as queries are turned, by zoo.parts.rotate of each; what goes by angles in another way on purpose need"
    " not keep it.",
    examples=FEW,
    required=False,
)
def goes_by_differences_of_angles(case: Case) -> None:
    """Where there are no tokens in front, turning all angles further by as much changes nothing."""
    bare = replace(case, site=replace(case.site, m=0))
    if bare.refusal() is None and _takes(bare, "rotary"):
        part, inputs = bare.build(), bare.inputs(BATCH)
        own, other = (bare.call(part, each) for each in (inputs, with_layout(inputs, _turned_further)))
        assert_close(other, own, "what it gives hangs on more than how far the angles of two tokens are apart", SINGLE)


def with_layout(inputs: Any, change: Change) -> Any:
    """The same inputs with other layouts."""
    if isinstance(inputs, Layout):
        return change(inputs)
    if isinstance(inputs, Group):
        return inputs._replace(layout=change(inputs.layout))
    return type(inputs)(with_layout(each, change) for each in inputs) if isinstance(inputs, list | tuple) else inputs


def _says(case: Case, fact: str) -> bool:
    part: Any = case.unmade
    return fact in part.needs | part.uses


def _takes(case: Case, fact: str) -> bool:
    return fact in facts_of(case.unmade).takes


def _shows(case: Case, change: Change) -> bool:
    part, inputs = case.build(), case.inputs(BATCH)
    with torch.no_grad():
        own, other = (tensors_in(case.call(part, each)) for each in (inputs, with_layout(inputs, change)))
    return any(not torch.allclose(one, two, rtol=0, atol=1e-9) for one, two in zip(own, other, strict=True))


def _turned_back(layout: Layout) -> Layout:
    assert layout.rotary is not None
    return replace(layout, rotary=Rotary(layout.rotary.cos, -layout.rotary.sin))


def _turned_further(layout: Layout) -> Layout:
    assert layout.rotary is not None
    (cos, sin), by = layout.rotary, 0.7
    return replace(
        layout, rotary=Rotary(cos * math.cos(by) - sin * math.sin(by), sin * math.cos(by) + cos * math.sin(by))
    )


def _other_context(layout: Layout) -> Layout:
    assert layout.context is not None
    return replace(layout, context=1 - layout.context)


def _other_padding(layout: Layout) -> Layout:
    context, mask = layout.context, layout.context_mask
    assert context is not None
    assert mask is not None
    return replace(layout, context=torch.where(mask.unsqueeze(2), context, 1 - context))


CHANGES: Mapping[str, Change] = {"rotary": _turned_back, "context": _other_context}
