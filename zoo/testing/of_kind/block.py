"""Blocks: the tokens of stages in, tokens of the same shapes out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zoo.parts.facts import facts_of
from zoo.parts.values import Group, Layout, Rotary
from zoo.testing.asserts import SINGLE, assert_close
from zoo.testing.cases import BATCH, Case, Random
from zoo.testing.count_laws import attention_is_seen
from zoo.testing.law import Law, law
from zoo.testing.of_kind.subset import runs_on_a_subset
from zoo.testing.of_kind.uses import goes_by_differences_of_angles, leaves_padding_out, takes_what_it_uses
from zoo.testing.place_laws import keeps_places
from zoo.testing.train_laws import adds_to_wide_tokens

CONTEXT = 5
"""Tokens of a context."""


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """One group, with all that the block needs or uses."""
    part: Any = case.unmade
    vectors = tuple(random(batch, case.dim) for _ in range(part.modulation_vectors))
    tokens = random(batch, case.m + case.count, case.dim)
    taken = tuple(random(*tokens.shape) for _ in part.takes)
    return ([Group(tokens, vectors, layout(case, part, batch, random), taken)],)


def layout(case: Case, part: Any, batch: int, random: Random) -> Layout:
    """Of the case's tokens, with all that a part needs or uses."""
    facts, site = facts_of(part), case.site
    found = Layout(m=case.m, grid=site.grid, patch=site.patch)
    if "rotary" in facts.takes:
        angles = random(case.count, case.dim // site.heads // 2).repeat_interleave(2, dim=1)
        found = replace(found, rotary=Rotary(angles.cos(), angles.sin()))
    if "context" in facts.takes:
        there = random(batch, CONTEXT) > 0
        there[:, 0] = True
        found = replace(found, context=random(batch, CONTEXT, site.condition_dim), context_mask=there)
    return found


@law(
    "Let forward() give for every group what forward_stage() gives for it: nothing may be mixed or averaged "
    "between groups."
)
def groups_are_alone(case: Case) -> None:
    """Groups of several stages in one call give what each gives by itself."""
    part: Any = case.build()
    (one,), (other,) = case.inputs(BATCH)[0], case.inputs(1)[0]
    for group, together in zip((one, other), part([one, other]), strict=True):
        (alone,) = part([group])
        assert_close(together, alone, "a group's output depends on the other groups of the call", SINGLE)
        by_itself = part.forward_stage(group.tokens, group.vectors, group.layout, *group.taken)
        assert_close(alone, by_itself, "forward of a group is not forward_stage", SINGLE)


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "block": (
        keeps_places,
        groups_are_alone,
        runs_on_a_subset,
        takes_what_it_uses,
        leaves_padding_out,
        goes_by_differences_of_angles,
        attention_is_seen,
        adds_to_wide_tokens,
    )
}
