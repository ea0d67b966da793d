"""Weights that a layout has no place for are refused, and never left out in silence."""

from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from tests.weights.layouts import EXAMPLES, FORMATS, REGISTRY, published_of
from tests.weights.small import random_weights, small
from zoo.assembly import load_recipe
from zoo.errors import WeightsError
from zoo.parts.routers import Tread
from zoo.weights import from_published, to_published
from zoo.weights.diffusers_folder import write_diffusers
from zoo.weights.foreign import ForeignCheckpoint

TOLD = ("backbone.router: it has weights, and the published code has no place for them",)
TREAD = {"type": "tread", "first": 0, "stop": 1}


@zoo.part("router", "learned")
class Learned(Tread):
    """Has weights, as no built-in router does."""

    def __init__(self, *, share: float = 0.5) -> None:
        super().__init__(first=0, stop=1, share=share)
        self.token = nn.Parameter(torch.zeros(3))

    def reset_parameters(self) -> None:
        """Zeros."""
        nn.init.zeros_(self.token)


WITH = REGISTRY.with_parts([Learned])


def of(name, router):
    objective = {"path": FORMATS[name].path}
    values = {"name": name, "backbone": {**EXAMPLES[name], "router": router}, "objective": objective}
    return load_recipe(values, registry=WITH)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_published_layout_takes_a_routers_weights(name):
    with pytest.raises(WeightsError, match=f"^{name}: {name} cannot hold it") as refused:
        to_published(random_weights(of(name, "learned"), WITH), name, WITH)
    assert refused.value.problems == TOLD
    assert to_published(random_weights(of(name, TREAD), WITH), name, WITH)


@pytest.mark.parametrize("name", EXAMPLES)
def test_none_gives_them(name):
    checkpoint = ForeignCheckpoint(Path("x.pt"), published_of(name)[1], "")
    with pytest.raises(WeightsError, match=f"^x.pt: {name} cannot hold weights of {name}") as refused:
        from_published(checkpoint, of(name, "learned"), WITH, format=name)
    assert refused.value.problems == TOLD
    assert from_published(checkpoint, of(name, TREAD), WITH, format=name)


def test_diffusers_takes_none(tmp_path):
    latent = {"channels": 3, "height": 16, "width": 16}
    learned, tread = (small(WITH, latent=latent, router=router) for router in ("learned", TREAD))
    with pytest.raises(WeightsError, match="DiTTransformer2DModel cannot express it") as refused:
        write_diffusers(tmp_path / "out", random_weights(learned, WITH), WITH)
    assert refused.value.problems == TOLD
    assert not list(tmp_path.iterdir())
    write_diffusers(tmp_path / "out", random_weights(tread, WITH), WITH)
