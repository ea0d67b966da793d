"""Small backbones of any shape."""

import torch

from tests.data.waves import Waves
from zoo.assembly import build, load_recipe
from zoo.backbone import Backbone
from zoo.errors import RecipeError
from zoo.registry import Registry
from zoo.testing.cases import randomise


def recipe_of(levels=None, *, stages=None, parts=(), **backbone):
    """A recipe of width 24 and the class as a token, with levels (patch, blocks, and what else) or stages of them."""
    if stages is None:
        schedule = {"type": "by_depth", "levels": levels}
    else:
        schedule = {"type": "by_depth_and_timestep", "stages": stages}
    first = levels if stages is None else stages[0]["levels"]
    values = {
        "latent": {"channels": 3, "height": 8, "width": 16},
        "num_classes": 5,
        "dim": 24,
        "depth": sum(level["blocks"] for level in first),
        "heads": 2,
        "patch_schedule": schedule,
        "class_conditioner": {"type": "class_tokens", "tokens": 2},
        **backbone,
    }
    data = {"dataset": "waves", "normalize": "none"}  # which has latents of any axes
    return load_recipe({"name": "shape", "backbone": values, "data": data}, registry=Registry(), parts=[Waves, *parts])


def level(patch, blocks=1, dim=None, **more):
    return {"patch": patch, "blocks": blocks, **({} if dim is None else {"dim": dim}), **more}


def backbone_of(*given, **values) -> Backbone:
    """Built in float64, with every parameter drawn."""
    backbone = build(recipe_of(*given, **values), dtype=torch.float64)
    randomise(backbone, 0, std=0.3)
    return backbone


def problems_of(*given, **values) -> list[str]:
    """What is wrong with such a recipe."""
    try:
        recipe_of(*given, **values)
    except RecipeError as error:
        return [line.removeprefix("recipe: ") for line in error.problems]
    return []


def run(backbone: Backbone, batch: int = 3, stage: int = 0, *, routed: bool = False) -> torch.Tensor:
    """The velocity of some latents of a stage; routed as in training, if wanted."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(batch, *backbone.latent_of(stage), generator=generator, dtype=torch.float64)
    t = torch.rand(batch, generator=generator, dtype=torch.float64)
    scores = torch.rand(batch, backbone.scores, generator=generator) if routed else None
    return backbone.forward_stage(stage, latents, t, backbone.conditioner.example_labels(batch), scores=scores)
