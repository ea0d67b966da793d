"""Routers: tokens in, some of them through blocks, all of them out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from zoo.parts.values import Layout, Rotary
from zoo.testing.cases import BATCH, Case, Random
from zoo.testing.law import Law, law
from zoo.testing.place_laws import Link, in_front, keeps_places


def inputs(case: Case, batch: int, random: Random, device: str) -> tuple[Any, ...]:
    """Tokens, their layout, and a score for each of the image's."""
    tokens, angles = random(batch, case.m + case.count, case.dim), random(case.count, case.dim)
    rotary = Rotary(angles.cos(), angles.sin())
    layout = Layout(m=case.m, grid=case.site.grid, patch=case.site.patch, rotary=rotary)
    return tokens, layout, random(batch, case.count).sigmoid()


def call(case: Case, part: Any, inputs: tuple[Any, ...]) -> Any:
    """The tokens that come back where those that went on are doubled."""
    tokens, layout, scores = inputs
    went, own, route = part.begin(tokens, layout, scores)
    return part.end(2 * went, own.m, route)


def links(case: Case, part: Any) -> Iterator[Link]:
    """Tokens in front come back there; of the image's, those that are left out may come back as others."""
    yield from in_front(case.m)


@law(
    "Return the tokens and the layout as they came from begin() where scores are None, and from end() too; or say"
    " fuses = True, if end() makes others of them."
)
def keeps_all_without_scores(case: Case) -> None:
    """Without scores, as in sampling, all tokens go on, in their order."""
    part: Any = case.build()
    tokens, layout, _ = case.inputs(BATCH)
    went, own, route = part.begin(tokens, layout, None)
    assert torch.equal(went, tokens), "without scores, other tokens go on than came"
    assert own.index is None, "without scores, the layout tells an index"
    returned = part.end(went, own.m, route)
    if part.fuses:
        assert returned.shape == tokens.shape, "without scores, end gives more or fewer tokens than came"
    else:
        assert torch.equal(returned, tokens), "without scores, end gives something else than came"


@law(
    "Take the first m tokens along as they are, and say in layout.index which of the image's go on: "
    "keep_tokens makes both."
)
def keeps_those_in_front(case: Case) -> None:
    """The tokens in front always go on, and the layout tells which of the image's do."""
    part: Any = case.build()
    tokens, layout, scores = case.inputs(BATCH)
    went, own, _ = part.begin(tokens, layout, scores)
    assert torch.equal(went[:, : case.m], tokens[:, : case.m]), "tokens in front are left out, or changed"
    if own.index is None:
        assert torch.equal(went, tokens), "tokens are left out, and the layout tells no index"
    else:
        image = tokens[:, case.m :]
        picked = image.gather(1, own.index.unsqueeze(2).expand(-1, -1, image.shape[2]))
        assert torch.equal(went[:, case.m :], picked), "the layout's index is not that of the tokens that go on"


@law("Take the angles of the tokens that go on into the layout: keep_tokens makes it.")
def angles_travel(case: Case) -> None:
    """The layout's angles are those of the tokens that go on."""
    part: Any = case.build()
    tokens, layout, scores = case.inputs(BATCH)
    _, own, _ = part.begin(tokens, layout, scores)
    assert own.rotary is not None, "the layout has lost its angles"
    for before, after in zip(layout.rotary, own.rotary, strict=True):
        expected = before if own.index is None else before[own.index]
        assert torch.equal(after, expected), "the layout's angles are those of other tokens"


LAWS: dict[str, tuple[Law[Case], ...]] = {
    "router": (keeps_places, keeps_all_without_scores, keeps_those_in_front, angles_travel)
}
