"""Turning a sinusoidal time embedder from one clock to the other: sinusoids of 1 - t are sums of those of t."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from zoo.assembly import change_section
from zoo.parts.time_embedders import FREQUENCIES, MAX_PERIOD
from zoo.registry import Registry
from zoo.weights.state import Weights

FIRST = re.compile(r"time_embedder\.(\d+\.)?layers\.0\.weight")
"""The first layer of a time embedder: of the only one, or of that of a width."""


def with_clock(weights: Weights, clock: str, registry: Registry) -> Weights:
    """The same weights, up to rounding, for a time embedder that is fed the other clock.

    Args:
        weights: of any backbone; where its time embedder is not sinusoidal, or has that clock, they are returned as
            they are.
        clock: ``noise`` or ``data``.
        registry: the parts to choose from.
    """
    spec = weights.recipe.backbone.time_embedder
    if spec.type != "sinusoidal" or spec.resolved()["clock"] == clock:
        return weights
    with torch.device("cpu"):
        reflection = _reflection(spec.resolved()["scale"])
        turned = {
            name: (tensor.double() @ reflection).to(tensor.dtype)
            for name, tensor in weights.tensors.items()
            if FIRST.fullmatch(name)
        }
    recipe = change_section(weights.recipe, "backbone", {"time_embedder.clock": clock}, registry)
    return replace(weights, recipe=recipe, tensors={**weights.tensors, **turned})


def _reflection(scale: float) -> Tensor:
    """The matrix [256, 256] that makes the features of 1 - t of those of t; its own inverse."""
    half = FREQUENCIES // 2
    angles = scale * MAX_PERIOD ** -(torch.arange(half, dtype=torch.float64) / half)
    cosine, sine = angles.cos().diag(), angles.sin().diag()
    return torch.cat([torch.cat([cosine, sine], dim=1), torch.cat([sine, -cosine], dim=1)])
