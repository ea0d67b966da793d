from copy import deepcopy
from functools import cache

import pytest
import torch

import zoo
from zoo.testing.cases import randomise

SMALL = (
    "backbone.dim=16",
    "backbone.heads=2",
    "backbone.depth=2",
    "backbone.num_classes=5",
    "backbone.latent={channels: 3, height: 4, width: 8}",
)
TWO_STAGES = (
    "backbone.patch_schedule={type: by_timestep, stages: [{noise_above: 0.5, patch: 4}, {noise_above: 0, patch: 2}]}"
)


@pytest.fixture
def small():
    """Builds a backbone of two stages, all of its weights randomised."""

    return lambda *overrides, dtype=torch.float32: deepcopy(built(*overrides, dtype=dtype))


@cache
def built(*overrides, dtype):
    backbone = zoo.build("dit_b", [*SMALL, TWO_STAGES, *overrides], dtype=dtype)
    randomise(backbone, 0, std=0.2)
    return backbone


@pytest.fixture
def inputs():
    """Noise and labels for the small backbone."""

    def make(batch=4, dtype=torch.float32):
        noise = torch.randn(batch, 3, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return noise.to(dtype), torch.tensor([3, 1, 3, 0, 2, 4])[:batch]

    return make
