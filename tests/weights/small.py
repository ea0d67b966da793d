"""Backbones of a few thousand parameters with random weights, also where weights start at zero."""

from __future__ import annotations

from typing import Any

import torch

from zoo.assembly import build, load_recipe
from zoo.recipe import Recipe
from zoo.recipe.latent import SizeRecipe
from zoo.registry import Registry
from zoo.weights import Weights

SIZE: dict[str, Any] = {
    "latent": {"channels": 3, "height": 16, "width": 32},
    "num_classes": 5,
    "dim": 16,
    "depth": 4,
    "heads": 2,
}
UNIFORM = {"type": "uniform", "patch": 2}
BY_DEPTH = {"type": "by_depth", "levels": [{"patch": 4, "blocks": 3}, {"patch": 2, "blocks": 1}]}
BY_TIMESTEP = {
    "type": "by_timestep",
    "stages": [
        {"noise_above": 0.5, "patch": 4},
        {"noise_above": 0.25, "patch": [2, 4]},
        {"noise_above": 0.0, "patch": 2},
    ],
}
HYBRID = {
    "type": "by_depth_and_timestep",
    "stages": [
        {"noise_above": 0.5, "levels": [{"patch": 8, "blocks": 2}, {"patch": 4, "blocks": 2}]},
        {"noise_above": 0.0, "levels": [{"patch": 4, "blocks": 2}, {"patch": 2, "blocks": 2}]},
    ],
}

HOURGLASS = {
    "type": "by_depth",
    "levels": [{"patch": 2, "blocks": 1}, {"patch": 4, "blocks": 2, "dim": 32}, {"patch": 2, "blocks": 1}],
}
LEVELS_DOWN = {"type": "by_depth", "levels": [{"patch": 2, "blocks": 2}, {"patch": 4, "blocks": 2}]}
SCALED = {
    "type": "by_timestep",
    "stages": [{"noise_above": 0.5, "patch": 2, "scale": 2}, {"noise_above": 0.0, "patch": 2}],
}


def small(registry: Registry, *overrides: str, schedule: Any = UNIFORM, name: str = "small", **parts: Any) -> Recipe:
    """A recipe of ``SIZE``."""
    backbone = {**SIZE, "patch_schedule": schedule, **parts}
    return load_recipe({"name": name, "backbone": backbone}, overrides, registry)


def random_weights(recipe: Recipe, registry: Registry, seed: int = 0, dtype: torch.dtype = torch.float32) -> Weights:
    """Weights of which none is zero, and the tables that the parts make."""
    generator = torch.Generator().manual_seed(seed)
    backbone = build(recipe, registry=registry, device="cpu").to(dtype)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return Weights(recipe, backbone.state_dict(), {"file": "random"})


def of_axes(recipe: Recipe, *size: int) -> Recipe:
    """A recipe whose latents have another size, whatever its parts make of it."""
    latent = SizeRecipe(channels=recipe.backbone.latent.channels, size=size)
    return recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"latent": latent})})


def inputs(recipe: Recipe, batch: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and labels, one of them the null class."""
    latent = recipe.backbone.latent
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, latent.channels, *latent.size, generator=generator)
    return latents, torch.arange(batch) + recipe.backbone.num_classes + 1 - batch
