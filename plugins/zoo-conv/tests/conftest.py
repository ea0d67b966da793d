from pathlib import Path

import pytest
import torch

import zoo
from zoo_conv import recipes
from zoo_conv.dic import DiCBlock, DiCHead
from zoo_conv.dico import DiCoBlock
from zoo_conv.resamplers import ConvMerge, ConvShuffle, ConvUnshuffle

RECIPES = Path(recipes.__file__).parent
HOURGLASS = "[{patch: 1, blocks: 4}, {patch: 2, blocks: 1, dim: 32}, {patch: 1, blocks: 4}]"


@pytest.fixture(scope="session")
def registry():
    """Zoo's parts and the package's, which need not be installed."""
    return zoo.Registry().with_parts([DiCBlock, DiCHead, DiCoBlock, ConvMerge, ConvShuffle, ConvUnshuffle])


@pytest.fixture(scope="session")
def shipped(registry):
    """Reads a recipe of the package by its name, with changes."""
    return lambda name, *changes: zoo.load_recipe(RECIPES / f"{name}.yaml", changes, registry)


@pytest.fixture(scope="session")
def hourglass(registry, shipped):
    """Builds DiC or DiCo with nine narrow blocks for latents of 8 x 8, with random weights, in float64."""

    def built(name, *changes):
        small = (f"backbone.patch_schedule.levels={HOURGLASS}", "backbone.dim=16", "backbone.depth=9")
        latent = "backbone.latent={channels: 4, height: 8, width: 8}"
        backbone = zoo.build(shipped(name, *small, latent, *changes), registry=registry).double()
        for each in backbone.parameters():
            torch.nn.init.normal_(each, std=0.2)
        return backbone

    return built
