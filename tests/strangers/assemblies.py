"""Recipes of strangers' parts: which go together, and the schedules that each is tried in."""

from __future__ import annotations

from typing import Any

import zoo
from tests.data.waves import CLASSES, Waves
from tests.strangers import convolutions, cross, maskdit, moving, narrow, uvit

REGISTRY = zoo.Registry().with_parts(
    dict.fromkeys(
        [Waves, *(part for module in (convolutions, uvit, cross, narrow, maskdit, moving) for part in module.PARTS)]
    )
)

NARROW, WIDE = 16, 32


Run = tuple[int | list[int], int] | tuple[int | list[int], int, int]


def levels(*runs: Run) -> list[dict[str, Any]]:
    """Of (patch, blocks), or (patch, blocks, width)."""
    return [dict(zip(("patch", "blocks", "dim"), run, strict=False)) for run in runs]


def stage(noise_above: float, *runs: Run, **more: Any) -> dict[str, Any]:
    return {"noise_above": noise_above, "levels": levels(*runs), **more}


DEPTH = 5
SCHEDULES: dict[str, dict[str, Any]] = {
    "uniform": {"type": "uniform", "patch": 2},
    "down": {"type": "by_depth", "levels": levels((1, 2), (2, 3))},
    "up": {"type": "by_depth", "levels": levels((4, 2), (2, 3))},
    "down and up": {"type": "by_depth", "levels": levels((2, 2), (4, 1), (2, 2))},
    "narrow": {"type": "by_depth", "levels": levels((2, 2, NARROW), (4, 1, WIDE), (2, 2, NARROW))},
    "by timestep": {
        "type": "by_timestep",
        "stages": [{"noise_above": 0.5, "patch": 4}, {"noise_above": 0.0, "patch": 2}],
    },
    "both": {"type": "by_depth_and_timestep", "stages": [stage(0.5, (4, 2), (2, 3)), stage(0.0, (2, 5))]},
    "both, down and up": {
        "type": "by_depth_and_timestep",
        "stages": [stage(0.5, (4, 2), (8, 1), (4, 2)), stage(0.0, (2, 2), (4, 1), (2, 2))],
    },
    "both, by scale": {
        "type": "by_depth_and_timestep",
        "stages": [stage(0.5, (2, 2), (4, 1), (2, 2), scale=2), stage(0.0, (2, 2), (4, 1), (2, 2))],
    },
}
"""Each of five blocks."""

CONVOLUTIONS = {"patch_embedder": "conv", "position": "none", "downsampler": "conv_unshuffle", "head": "conv"}
PARTS: dict[str, dict[str, Any]] = {
    "dic": {
        **CONVOLUTIONS,
        "block": {"type": "dic", "every": 1},
        "modulation": {"type": "adaln_zero", "init": "xavier"},
        "upsampler": "conv_shuffle",
        "skip": "none",
    },
    "uvit": {"block": {"type": "uvit", "skips": "depth"}, "modulation": "in_context", "head": "uvit"},
    "uvit_by_level": {"block": "uvit", "modulation": "in_context", "head": "uvit"},
    "dico": {**CONVOLUTIONS, "block": "dico", "upsampler": "conv_merge", "skip": "none"},
    "dico, up as dic": {**CONVOLUTIONS, "block": "dico", "upsampler": "conv_shuffle", "skip": "none"},
    "cross": {"block": "cross", "class_conditioner": "captions"},
    "narrow": {
        "downsampler": "mean",
        "upsampler": "copies",
        "skip": "none",
        "class_conditioner": {"type": "class_tokens", "tokens": 2},
    },
}
"""What a recipe takes to try a part."""


def recipe(parts: str, schedule: str, **more: Any) -> dict[str, Any]:
    """Of some parts in a schedule, and more of the backbone, for digits."""
    return {
        "name": parts.replace(" ", "_"),
        "backbone": {
            "latent": {"channels": 1, "height": 8, "width": 8},
            "num_classes": 10,
            "dim": NARROW,
            "depth": DEPTH,
            "heads": 2,
            "patch_schedule": SCHEDULES[schedule],
            **PARTS[parts],
            **more,
        },
    }


def masked_recipe() -> dict[str, Any]:
    """Of a decoder of another width, which learns what its encoder does not see."""
    return recipe(
        "narrow",
        "uniform",
        patch_schedule={"type": "by_depth", "levels": levels((2, 2), (2, 3, WIDE))},
        router={"type": "mask_tokens", "stop": 2, "dim": WIDE},
        class_conditioner="embedding",
        condition="shared",
    )


def axes_recipe(size: list[int], schedule: dict[str, Any]) -> dict[str, Any]:
    """Of built-in parts, on latents of any number of axes."""
    return {
        "name": "axes",
        "backbone": {
            "latent": {"channels": 2, "size": size},
            "num_classes": CLASSES,
            "dim": 24,  # which a sine and a cosine for each of three axes divide
            "depth": 3,
            "heads": 2,
            "patch_schedule": schedule,
            "class_conditioner": {"type": "class_tokens", "tokens": 2},
        },
        "data": {"dataset": "waves", "normalize": "per_channel"},
    }
