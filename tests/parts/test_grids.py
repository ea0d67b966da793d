"""Tokens on a grid: all of them, or a message."""

import warnings

import pytest
import torch
from jaxtyping import config

from zoo.errors import PluginError
from zoo.parts import grids, shuffle, to_map, unshuffle

GRID, TOKENS = (2, 4), torch.randn(1, 8, 6)
WHOLE = [
    to_map,
    lambda tokens, grid: shuffle(tokens, grid, (1, 2)),
    lambda tokens, grid: unshuffle(tokens, grid, (1, 2)),
]


@pytest.mark.parametrize("taken", WHOLE)
@pytest.mark.parametrize("count", [4, 7, 9])
def test_some_of_a_grid_are_not_folded_into_channels(taken, count):
    message = rf"^{count} tokens came for a grid of 2x4, which has 8: .*layout.m.* refuses = {{'subset'}}$"
    with pytest.raises(PluginError, match=message):
        taken(torch.randn(1, count, 6), GRID)


@pytest.mark.parametrize("taken", WHOLE)
def test_a_trace_is_not_told_of_the_look_at_the_count(taken):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.jit.trace(lambda tokens: taken(tokens, GRID), TOKENS)
    assert not [each for each in told if each.filename == grids.__file__ and "Python boolean" in str(each.message)]


def test_by_a_factor_of_one_any_tokens_stay_as_they_are():
    some = TOKENS[:, :3]
    assert torch.equal(unshuffle(some, GRID, (1, 1)), some)


@pytest.mark.slow
def test_the_batch_stays_open_where_a_graph_is_made(monkeypatch):
    """As ``torch.export`` makes one, for which ``len`` is a number."""
    from torch.fx.experimental.proxy_tensor import make_fx  # seconds, for the algebra of sizes

    def there_and_back(latents):
        tokens = grids.patchify(latents, (2, 2))
        coarse = unshuffle(grids.to_tokens(to_map(tokens, (4, 4))), (4, 4), (2, 2))
        return grids.unpatchify(shuffle(coarse, (2, 2), (2, 2)), (4, 4), (2, 2))

    monkeypatch.setattr(config, "jaxtyping_disable", True)
    graph = make_fx(there_and_back, tracing_mode="symbolic")(torch.ones(3, 4, 8, 8))
    latents = torch.randn(5, 4, 8, 8)
    assert torch.equal(graph(latents), there_and_back(latents))
