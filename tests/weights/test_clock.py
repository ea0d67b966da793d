"""Weights of one clock turned to the other: the same function, up to rounding."""

import pytest
import torch

from tests.weights.small import HOURGLASS, UNIFORM, inputs, random_weights, small
from zoo.weights import clock, filled
from zoo.weights.clock import with_clock

CPU = torch.device("cpu")


def backbones(registry, before, after, scale=1.0, schedule=UNIFORM):
    time = {"type": "sinusoidal", "clock": before, "scale": scale}
    recipe = small(registry, schedule=schedule, time_embedder=time)
    weights = random_weights(recipe, registry, dtype=torch.float64)
    turned = with_clock(weights, after, registry)
    assert turned.recipe.backbone.time_embedder.resolved()["clock"] == after
    return [filled(each, CPU) for each in (weights, turned)]


@pytest.mark.parametrize(("before", "after"), [("noise", "data"), ("data", "noise")])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_the_backbone_computes_the_same(registry, before, after, scale):
    one, other = backbones(registry, before, after, scale)
    assert not torch.allclose(one.time_embedder.layers[0].weight, other.time_embedder.layers[0].weight)
    latents, labels = inputs(small(registry))
    t = torch.tensor([0.0, 0.3, 0.8, 1.0], dtype=torch.float64)
    torch.testing.assert_close(one(latents.double(), t, labels), other(latents.double(), t, labels), atol=1e-9, rtol=0)


def test_time_embedders_of_all_widths_are_turned(registry):
    one, other = backbones(registry, "noise", "data", schedule=HOURGLASS)
    assert set(one.time_embedder) == {"16", "32"}
    latents, labels = inputs(small(registry))
    t = torch.tensor([0.0, 0.3, 0.8, 1.0], dtype=torch.float64)
    torch.testing.assert_close(one(latents.double(), t, labels), other(latents.double(), t, labels), atol=1e-9, rtol=0)


def test_weights_that_are_not_turned_would_be_noticed(registry, monkeypatch):
    monkeypatch.setattr(clock, "_reflection", lambda scale: torch.eye(256, dtype=torch.float64))
    one, other = backbones(registry, "noise", "data")
    latents, labels = inputs(small(registry))
    t = torch.tensor([0.0, 0.3, 0.8, 1.0], dtype=torch.float64)
    assert not torch.allclose(one(latents.double(), t, labels), other(latents.double(), t, labels), atol=1e-3)


def test_there_and_back_is_where_it_was(registry):
    weights = random_weights(small(registry), registry, dtype=torch.float64)
    back = with_clock(with_clock(weights, "data", registry), "noise", registry)
    assert back.recipe == weights.recipe
    first = "time_embedder.layers.0.weight"
    torch.testing.assert_close(back.tensors[first], weights.tensors[first], atol=1e-12, rtol=0)


@pytest.mark.parametrize("time_embedder", ["fno", {"type": "sinusoidal", "clock": "data"}])
def test_what_needs_no_turn_is_left_alone(registry, time_embedder):
    weights = random_weights(small(registry, time_embedder=time_embedder), registry)
    assert with_clock(weights, "data", registry) is weights
