"""Which tokens go, and what comes back, token by token."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import OptionError
from zoo.parts import Layout
from zoo_routing.routers import MaskDiT, Sprint, one_of_each_group

BATCH, FRONT, DIM = 3, 2, 5


def given(grid: tuple[int, ...]):
    torch.manual_seed(0)
    count = torch.Size(grid).numel()
    tokens = torch.randn(BATCH, FRONT + count, DIM)
    return tokens, Layout(m=FRONT, grid=grid, patch=(1,) * len(grid)), torch.rand(BATCH, count)


@pytest.mark.parametrize("grid", [(4, 6), (5, 3), (7,), (2, 3, 4)])
@pytest.mark.parametrize("group", [2, 3])
def test_of_each_group_the_highest_score_goes(grid, group):
    scores = given(grid)[2]
    found = one_of_each_group(scores, grid, group)
    for own, kept in zip(scores, found.tolist(), strict=True):
        best: dict[tuple[int, ...], int] = {}
        for place in range(own.numel()):
            corner = tuple(int(each) // group for each in torch.unravel_index(torch.tensor(place), grid))
            if corner not in best or own[place] > own[best[corner]]:
                best[corner] = place
        assert kept == sorted(best.values())


def test_sprint_joins_all_tokens_with_those_that_went_and_a_learned_one():
    router = Sprint(6, (DIM,) * 6, before=2, behind=1)
    assert (router.first, router.stop) == (2, 5)
    tokens, layout, scores = given((4, 4))
    went, own, route = router.begin(tokens, layout, scores)
    assert went.shape == (BATCH, FRONT + 4, DIM)
    deep = went + 1
    found = router.end(deep, FRONT, route)
    for row in range(BATCH):
        places = own.index[row].tolist()
        for place in range(16):
            into = deep[row, FRONT + places.index(place)] if place in places else router.mask
            joined = torch.cat([tokens[row, FRONT + place], into])
            torch.testing.assert_close(found[row, FRONT + place], router.fuse(joined))
    torch.testing.assert_close(found[:, 0], router.fuse(torch.cat([tokens[:, 0], deep[:, 0]], 1)))
    went, own, route = router.begin(tokens, layout, None)
    assert own.index is None
    torch.testing.assert_close(router.end(went, FRONT, route), router.fuse(torch.cat([tokens, tokens], 2)))


def test_maskdit_puts_a_learned_token_in_the_place_of_those_that_it_left_out():
    router = MaskDiT(6, (DIM,) * 6, stop=4, share=0.5)
    assert (router.first, router.stop) == (0, 4)
    tokens, layout, scores = given((3, 5))
    went, own, route = router.begin(tokens, layout, scores)
    assert own.index.shape == (BATCH, 7)
    found = router.end(went, FRONT, route)
    for row in range(BATCH):
        places = scores[row].argsort(descending=True)[:7].tolist()
        assert sorted(places) == own.index[row].tolist()
        for place in range(15):
            expected = tokens[row, FRONT + place] if place in places else router.mask
            assert torch.equal(found[row, FRONT + place], expected)
    assert torch.equal(found[:, :FRONT], tokens[:, :FRONT])


@pytest.mark.parametrize(("make", "told"), [
    (lambda: MaskDiT(4, (DIM,) * 4, stop=4), "stop: 4 leaves the decoder no block of 4; make it less"),
    (lambda: Sprint(4, (DIM,) * 4), "before: 2 and 2 behind leave no block of 4 to route to; make one less"),
])  # fmt: skip
def test_routes_without_blocks_are_refused(make, told):
    with pytest.raises(OptionError, match=told.partition(": ")[2]):
        make()
