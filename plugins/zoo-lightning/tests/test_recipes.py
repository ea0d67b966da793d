from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import zoo
from zoo.audit import Audit, audit
from zoo.audit.trace import example_inputs
from zoo.recipe import Recipe
from zoo_lightning import recipes
from zoo_lightning.block import LightningBlock

RECIPES = sorted(Path(recipes.__file__).parent.rglob("*.yaml"))
SMALL = ("backbone.dim=48", "backbone.heads=3", "backbone.latent.height=16", "backbone.latent.width=32")


@pytest.fixture(scope="module")
def registry() -> zoo.Registry:
    return zoo.Registry().with_parts([LightningBlock])


@pytest.fixture(scope="module", params=RECIPES, ids=lambda path: path.stem)
def recipe(request, registry) -> Recipe:
    return zoo.load_recipe(request.param, SMALL, registry)


@pytest.fixture(scope="module")
def counted(recipe) -> Audit:
    return audit(recipe)


def test_all_recipes_are_here():
    assert [path.stem for path in RECIPES] == ["lightning_b", "lightning_hybrid_b", "lightning_mpdit_b"]


def test_two_counters_agree(recipe, counted, registry):
    backbone = zoo.build(recipe, registry=registry, device="meta")
    for stage, own in enumerate(counted.stages):
        with FlopCounterMode(display=False) as counter:
            backbone.forward_stage(stage, *example_inputs(backbone, stage))
        assert counter.get_total_flops() == 2 * own.macs


def test_norms_are_counted_apart(counted):
    dim, hidden = 48, 128
    for stage in counted.stages:
        for level in stage.levels:
            matrices = level.tokens * (4 * dim * dim + 3 * dim * hidden)
            assert level.macs == level.blocks * (matrices + 2 * level.tokens**2 * dim)
        # In a block two norms without a weight, 4 operations an element, and two with one, 5 an element.
        blocks = sum(level.blocks * level.tokens * dim * 18 for level in stage.levels)
        assert stage.norm_ops >= blocks


def test_assembly_runs(recipe, registry):
    backbone = zoo.build(recipe, registry=registry)
    latents = torch.randn(3, *backbone.latent)
    velocity = backbone(latents, torch.tensor([0.0, 0.4, 1.0]), torch.tensor([0, 1, 1000]))
    assert velocity.shape == latents.shape
    velocity.sum().backward()
